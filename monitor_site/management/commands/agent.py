"""`manage.py agent`: the part that owns the processes of this host."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.locks import HeldError, hold
from core.observability import configure
from monitor_site.agent import run
from programs.supervisor import launch


class Command(BaseCommand):
    help = "Starts, watches and restarts the programs of this host. They outlive it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--stop-programs", action="store_true", help="stop all programs when the agent stops")

    def handle(self, *args: Any, **options: Any) -> None:
        configure("agent", background=True)
        try:
            with hold("agent"):
                make_mark()
                asyncio.run(run(stop_programs=options["stop_programs"]))
        except HeldError as error:
            raise CommandError(str(error)) from error


def make_mark() -> None:
    """A mark that cannot be made or read is told here, once, and not at the start of each program."""
    try:
        launch.installation()
    except OSError as error:
        raise CommandError(f"The mark of this installation cannot be used: {error}") from error
