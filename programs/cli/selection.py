"""Selects programs by name or id, by tag, or all."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence

from core.cli.exit_codes import FailedError, UsageError
from core.cli.terminal import Options
from core.suggest import did_you_mean
from programs import status
from programs.models import Program
from programs.payloads import ProgramStatus


def add_selection(parser: ArgumentParser, *, metavar: str = "NAME") -> None:
    parser.add_argument("names", nargs="*", metavar=metavar, help="name or id of a program")
    parser.add_argument(
        "--tag", action="append", default=[], dest="tags", help="programs with this tag (repeatable)"
    )


def add_all(parser: ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", dest="every", help="all programs")


def selected_or_all(options: Options) -> list[ProgramStatus]:
    every = status.all_programs(status.read_host_state())
    return select(every, options.names, options.tags) if options.names or options.tags else every


def selected_programs(options: Options) -> list[ProgramStatus]:
    """All programs only with `--all`. Raises UsageError, FailedError."""
    if options.every and (options.names or options.tags):
        raise UsageError("--all can't be combined with names or tags.")
    if not (options.every or options.names or options.tags):
        raise UsageError("Select programs by name or id, with --tag, or with --all.")
    return selected_or_all(options)


def select(every: Sequence[ProgramStatus], names: Sequence[str], tags: Sequence[str]) -> list[ProgramStatus]:
    """First those with one of the names or ids, in that order, then those with one of the tags; each once.

    Raises FailedError for a name or tag that matches nothing, so that a command never acts on half of a list.
    """
    by_name = {program["name"]: program for program in every}
    by_id = {str(program["id"]): program for program in every}
    found = {name: by_name.get(name) or by_id.get(name) for name in names}
    if missing := [name for name, program in found.items() if program is None]:
        raise FailedError("\n".join(_unknown_name(name, list(by_name)) for name in missing))
    for tag in tags:
        tagged = [program for program in every if tag in program["tags"]]
        if not tagged:
            raise FailedError(f"No program has the tag {tag}.")
        found |= {program["name"]: program for program in tagged}
    return list({program["id"]: program for program in found.values() if program}.values())


def find_program(name: str) -> Program:
    """The program with that name or id, with its host and processes. Raises FailedError."""
    every = Program.objects.select_related("host").prefetch_related("processes")
    program = every.filter(name=name).first()
    # Longer numbers don't fit into the column.
    if program is None and name.isascii() and name.isdigit() and len(name) < 19:
        program = every.filter(pk=int(name)).first()
    if program is None:
        raise FailedError(_unknown_name(name, list(Program.objects.values_list("name", flat=True))))
    return program


def _unknown_name(name: str, known: Sequence[str]) -> str:
    return f"There is no program {name}.{did_you_mean(name, known)}"
