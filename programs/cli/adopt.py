"""`program adopt`: a definition from a process that runs already, which goes on without a restart."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import UTC, datetime

from core.access import command_actor
from core.cli.exit_codes import Exit, UsageError
from core.cli.subcommand import Subcommand
from core.cli.tables import Cell, Column, table
from core.cli.terminal import Options, Terminal
from core.masking import mask_text
from core.timeformat import iso
from programs import adoption, status
from programs.action_outcome import Asked, started
from programs.adoption import Candidate
from programs.formatting import bytes_text, duration_text

from .actions import reported, unawaited
from .wait import add_waiting, outcomes

COLUMNS = (
    Column("pid", is_number=True),
    Column("user"),
    Column("memory", is_number=True),
    Column("uptime", is_number=True),
    Column("command"),
)


class Adopt(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("pid", nargs="?", type=int, metavar="PID", help="the main process of a tree")
        parser.add_argument("--name", help="how it will be called")
        parser.add_argument("--list", action="store_true", help="processes of this host that could be adopted")
        add_waiting(parser)
        parser.add_argument("--json", action="store_true", help="the list, or the outcome as of `program start`")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        if options.list and options.pid is None:
            return _show(adoption.candidates(), options, terminal)
        if options.list or options.pid is None or not options.name:
            raise UsageError("Write PID --name NAME, or --list.")
        program = adoption.adopt(options.pid, name=options.name, actor=command_actor())
        before = status.one_program(program.pk)
        asked = {program.pk: Asked(before, program.success_exit_codes)} if before else {}
        if options.wait:
            found = outcomes(asked, started, options.timeout, terminal.warn)
        else:
            found = unawaited(asked.values(), f"adoption asked for (id {program.pk})", terminal)
        return reported(found, options, terminal)


def _show(found: Iterable[Candidate], options: Options, terminal: Terminal) -> Exit:
    now = datetime.now(UTC)
    if options.json:
        terminal.json([_as_json(candidate) for candidate in found])
    else:
        rows = [_row(candidate, now) for candidate in found]
        terminal.say("\n".join(table(COLUMNS, rows, terminal.columns)))
    return Exit.DONE


def _as_json(candidate: Candidate) -> dict[str, object]:
    return {
        "pid": candidate.pid,
        "user": candidate.user,
        "command": mask_text(candidate.command),
        "working_directory": candidate.working_directory,
        "started_at": iso(candidate.started_at),
        "memory_bytes": candidate.memory_bytes,
    }


def _row(candidate: Candidate, now: datetime) -> list[Cell]:
    return [
        Cell(str(candidate.pid)),
        Cell(candidate.user),
        Cell(bytes_text(candidate.memory_bytes)),
        Cell(duration_text((now - candidate.started_at).total_seconds())),
        Cell(mask_text(candidate.command)),
    ]
