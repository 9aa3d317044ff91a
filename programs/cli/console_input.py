"""`program input`: lines for the console of a program whose stdin is one."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Iterable

from django.db.models import Max

from core.access import command_actor
from core.cli.exit_codes import Exit, FailedError
from core.cli.subcommand import Subcommand
from core.cli.terminal import Options, Terminal
from core.cli.time_parsing import seconds
from programs import services
from programs.models import Program, ProgramEvent

from .selection import one
from .wait import POLL_SECONDS

DEFAULT_TIMEOUT = 5.0


class Input(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="a program's name or id")
        parser.add_argument("text", nargs="+", metavar="TEXT", help="one line; - sends the lines of stdin instead")
        parser.add_argument(
            "--timeout",
            type=seconds,
            default=DEFAULT_TIMEOUT,
            metavar="SECONDS",
            help="for the agent to type them",
        )

    def run(self, options: Options, terminal: Terminal) -> Exit:
        program = one(options.name)
        lines: Iterable[str] = terminal.stdin if options.text == ["-"] else [" ".join(options.text)]
        before = ProgramEvent.objects.aggregate(last=Max("seq"))["last"] or 0
        for line in lines:
            services.send_input(program, line.removesuffix("\n") + "\n", actor=command_actor())
        _await_typed(program, options.timeout)
        if error := _error_since(program, before):
            raise FailedError(f"{program.name} did not take it: {error}.")
        return Exit.DONE


def _await_typed(program: Program, timeout: float) -> None:
    """Until the agent has typed everything. Raises FailedError."""
    deadline = time.monotonic() + timeout
    while program.intents.filter(verb="input").exists():
        if time.monotonic() >= deadline:
            raise FailedError(f"The agent of {program.name} has not typed it after {timeout:g} s; it still will.")
        time.sleep(POLL_SECONDS)


def _error_since(program: Program, seq: int) -> str:
    """Why a line was not taken, when one was not: nobody reads there, or not fast enough."""
    told = program.events.filter(seq__gt=seq, type="program.input").values_list("data", flat=True)
    return next((str(data["error"]) for data in told if data.get("error")), "")
