"""`program list` and `program status`: a table, or the API's status objects."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from functools import partial

from core.cli.exit_codes import Exit
from core.cli.subcommand import Subcommand
from core.cli.tables import Cell, Column, table
from core.cli.terminal import Options, Terminal, Tone
from programs.formatting import bytes_text, duration_text
from programs.payloads import ProcessStatus, ProgramStatus
from programs.states import State

from .selection import add_selection, selected_or_all
from .wait import agent_lost_text

COLUMNS = (
    Column("name"),
    Column("state"),
    Column("pid", is_number=True),
    Column("cpu", is_number=True),
    Column("memory", is_number=True),
    Column("uptime", is_number=True),
    Column("restarts", is_number=True),
    Column("reason"),
)

TONES: dict[str, Tone] = {
    State.RUNNING: Tone.GOOD,
    State.STARTING: Tone.WARNING,
    State.BACKOFF: Tone.WARNING,
    State.STOPPING: Tone.WARNING,
    State.FATAL: Tone.BAD,
    State.UNKNOWN: Tone.BAD,
}


class List(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_selection(parser)
        parser.add_argument("--json", action="store_true", help="print the API's status objects")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        show(selected_or_all(options), options, terminal)
        return Exit.DONE


class Status(List):
    def run(self, options: Options, terminal: Terminal) -> Exit:
        chosen = selected_or_all(options)
        show(chosen, options, terminal)
        is_selective = bool(options.names or options.tags)
        if is_selective and any(program["state"] != State.RUNNING for program in chosen):
            return Exit.NOT_RUNNING
        return Exit.DONE


def show(programs: Sequence[ProgramStatus], options: Options, terminal: Terminal) -> None:
    if options.json:
        terminal.json(programs)
        return
    if not programs:
        terminal.warn("There are no programs yet. Create one with `program add`.")
        return
    rows = [row for program in programs for row in _rows(program, terminal)]
    terminal.say("\n".join(table(COLUMNS, rows, terminal.columns)))
    for host in sorted({program["host"] or "" for program in programs if program["state"] == State.UNKNOWN}):
        terminal.warn(f"States are unknown: {agent_lost_text(host)}")


def _rows(program: ProgramStatus, terminal: Terminal) -> list[list[Cell]]:
    processes = program["processes"]
    first = _row(program["name"], program, terminal)
    if len(processes) < 2:
        return [first]
    first[2] = Cell(f"{program['instances']['running']} of {program['instances']['desired']}")
    return [first, *(_row(f"  {program['name']}:{process['index']}", process, terminal) for process in processes)]


def _row(name: str, found: ProgramStatus | ProcessStatus, terminal: Terminal) -> list[Cell]:
    state, uptime = found["state"], found["uptime_seconds"]
    is_alive = found["pid"] is not None
    return [
        Cell(name),
        Cell(_state_text(found), partial(terminal.colour, TONES.get(state))),
        Cell(str(found["pid"]) if is_alive else "-"),
        Cell(f"{found['cpu_percent']:.1f}%" if is_alive else "-"),
        Cell(bytes_text(found["memory_bytes"]) if is_alive else "-"),
        Cell("-" if uptime is None else duration_text(uptime)),
        Cell(str(found["restarts"])),
        Cell(found["reason"]),
    ]


def _state_text(found: ProgramStatus | ProcessStatus) -> str:
    return f"{found['state']} ({found['health']})" if found["health"] == "unhealthy" else found["state"]
