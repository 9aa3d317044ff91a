"""`program scale`: another number of instances."""

from __future__ import annotations

from argparse import ArgumentParser

from core.access import command_actor
from core.cli.exit_codes import Exit, FailedError
from core.cli.subcommand import Subcommand
from core.cli.terminal import Options, Terminal
from programs import services, status

from .selection import one
from .verbs import reported, unawaited
from .verdicts import Asked, scaled
from .waiting import add_waiting, outcomes


class Scale(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="a program's name or id")
        parser.add_argument("instances", type=int, metavar="N", help="within its instances_min and instances_max")
        add_waiting(parser)
        parser.add_argument("--json", action="store_true", help="as of `program start`")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        program = one(options.name)
        before = status.one_program(program.pk)
        if before is None:
            raise FailedError(f"{program.name} was removed meanwhile.")
        services.scale(program, options.instances, actor=command_actor())
        asked = {program.pk: Asked(before, program.success_exit_codes)}
        if options.wait:
            found = outcomes(asked, scaled, options.timeout, terminal.warn)
        else:
            found = unawaited(asked.values(), f"scaling to {options.instances} asked for", terminal)
        return reported(found, options, terminal)
