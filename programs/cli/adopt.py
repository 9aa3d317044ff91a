"""`program adopt`: creates a program from a running process and takes the process over without a restart."""

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
from programs.action_outcome import ActionRequest, started
from programs.adoption import Candidate
from programs.formatting import bytes_text, duration_text

from .actions import report, results
from .wait import add_waiting

COLUMNS = (
    Column("pid", is_number=True),
    Column("user"),
    Column("memory", is_number=True),
    Column("uptime", is_number=True),
    Column("command"),
)


class Adopt(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("pid", nargs="?", type=int, metavar="PID", help="the main process of a program")
        parser.add_argument("--name", help="name of the new program")
        parser.add_argument("--list", action="store_true", help="list the processes of this host to choose from")
        add_waiting(parser)
        parser.add_argument("--json", action="store_true", help="print JSON: the list, or like `program start`")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        if options.list and options.pid is None:
            return _show(adoption.candidates(), options, terminal)
        if options.list or options.pid is None or not options.name:
            raise UsageError("Use PID --name NAME, or --list.")
        program = adoption.adopt(options.pid, name=options.name, actor=command_actor())
        before = status.one_program(program.pk)
        requests = {program.pk: ActionRequest(before, program.success_exit_codes)} if before else {}
        text = f"adoption requested (id {program.pk})"
        return report(results(requests, started, text, options, terminal), options, terminal)


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
