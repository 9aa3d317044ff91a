from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.access import audit, command_actor
from core.retention import ClockError, confirm, current_state, deletion_time, read_clock
from core.timeformat import iso


class Command(BaseCommand):
    help = "Shows who deletes old rows and by which settings. `confirm` says that the clock is right."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "subcommand",
            nargs="?",
            choices=["show", "confirm"],
            default="show",
            help="confirm: the clock is right although it jumped ahead, so old rows may be deleted again",
        )
        parser.add_argument("--json", action="store_true", help="show as data")

    def handle(self, *args: Any, subcommand: str, **options: Any) -> None:
        if subcommand == "confirm":
            self.confirm()
        else:
            self.show(as_json=options["json"])

    def confirm(self) -> None:
        clock = read_clock()
        try:
            confirm(clock)
        except ClockError as error:
            raise CommandError(str(error)) from error
        audit(command_actor(), "retention.confirm", data={"clock": iso(clock.now)})
        self.stdout.write(f"The clock ({clock.now:%Y-%m-%d %H:%M:%S} UTC) is trusted: old rows are deleted again.")

    def show(self, *, as_json: bool) -> None:
        state, refusal = current_state(), ""
        try:
            deletion_time(read_clock())
        except ClockError as error:
            refusal = str(error)
        if as_json:
            data = {"owner": state.owner or None, "settings": state.kept, "refused": refusal or None}
            self.stdout.write(json.dumps(data, indent=2, ensure_ascii=False))
            return
        for name, value in state.kept.items():
            self.stdout.write(f"{name:<12} {value}")
        self.stdout.write(f"{'deleted by':<12} {state.owner or 'no agent yet'}")
        if refusal:
            self.stdout.write(refusal)
