"""`program input`: sends lines to a program whose stdin is a console."""

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

from .selection import find_program
from .wait import POLL_SECONDS

DEFAULT_TIMEOUT = 5.0


class Input(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="name or id of a program")
        parser.add_argument("text", nargs="+", metavar="TEXT", help="one line; - reads lines from stdin")
        parser.add_argument(
            "--timeout",
            type=seconds,
            default=DEFAULT_TIMEOUT,
            metavar="SECONDS",
            help=f"wait at most this long for the agent to write them (default: {DEFAULT_TIMEOUT:g})",
        )

    def run(self, options: Options, terminal: Terminal) -> Exit:
        program = find_program(options.name)
        lines: Iterable[str] = terminal.stdin if options.text == ["-"] else [" ".join(options.text)]
        before = ProgramEvent.objects.aggregate(last=Max("seq"))["last"] or 0
        for line in lines:
            services.send_input(program, line.removesuffix("\n") + "\n", actor=command_actor())
        _wait_until_written(program, options.timeout)
        if error := _error_since(program, before):
            raise FailedError(f"{program.name} didn't accept the input: {error}.")
        return Exit.DONE


def _wait_until_written(program: Program, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while program.intents.filter(verb="input").exists():
        if time.monotonic() >= deadline:
            text = f"The agent hasn't written the input to {program.name} after {timeout:g} s; it still will."
            raise FailedError(text)
        time.sleep(POLL_SECONDS)


def _error_since(program: Program, seq: int) -> str:
    found = program.events.filter(seq__gt=seq, type="program.input").values_list("data", flat=True)
    return next((str(data["error"]) for data in found if data.get("error")), "")
