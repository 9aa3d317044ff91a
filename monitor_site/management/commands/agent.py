"""`manage.py agent`: owns the processes of this host."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.locks import HeldError, hold
from core.observability import configure
from monitor_site.agent import run
from programs.supervisor import launch


class Command(BaseCommand):
    help = "Starts, watches and restarts the programs of this host. They keep running when it stops."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--stop-programs", action="store_true", help="stop all programs when the agent stops")

    def handle(self, *args: Any, **options: Any) -> None:
        configure("agent", background=True)
        try:
            with hold("agent"):
                check_marker()
                asyncio.run(run(stop_programs=options["stop_programs"]))
        except HeldError as error:
            raise CommandError(str(error)) from error


def check_marker() -> None:
    # Reported here once, instead of at the start of each program.
    try:
        launch.installation()
    except OSError as error:
        raise CommandError(f"Cannot create or read the marker of this installation: {error}") from error
