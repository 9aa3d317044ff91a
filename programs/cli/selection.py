"""Which programs are meant: by name or id, by tag, or all."""

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
    parser.add_argument("names", nargs="*", metavar=metavar, help="a program's name or id")
    parser.add_argument("--tag", action="append", default=[], dest="tags", help="those with this tag (repeatable)")


def add_all(parser: ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", dest="every", help="all programs")


def named_or_all(options: Options) -> list[ProgramStatus]:
    """Those that are meant; without names and tags all."""
    every = status.all_programs(status.read_host_state())
    return picked(every, options.names, options.tags) if options.names or options.tags else every


def expressly_named(options: Options) -> list[ProgramStatus]:
    """As above, but all only with `--all`. Raises UsageError."""
    if options.every and (options.names or options.tags):
        raise UsageError("--all already means every program; leave out the names and tags.")
    if not (options.every or options.names or options.tags):
        raise UsageError("Say which programs: by name or id, with --tag, or --all.")
    return named_or_all(options)


def picked(every: Sequence[ProgramStatus], names: Sequence[str], tags: Sequence[str]) -> list[ProgramStatus]:
    """Those with one of the names or ids, in that order, then those with one of the tags; each once.

    Raises FailedError for a name or a tag that nothing has: half of a list is never acted upon.
    """
    by_name = {program["name"]: program for program in every}
    by_id = {str(program["id"]): program for program in every}
    found = {name: by_name.get(name) or by_id.get(name) for name in names}
    if missing := [name for name, program in found.items() if program is None]:
        raise FailedError("\n".join(_no_such(name, list(by_name)) for name in missing))
    for tag in tags:
        tagged = [program for program in every if tag in program["tags"]]
        if not tagged:
            raise FailedError(f"No program has the tag {tag}.")
        found |= {program["name"]: program for program in tagged}
    return list({program["id"]: program for program in found.values() if program}.values())


def one(name: str) -> Program:
    """The program of that name or id, with its host and processes. Raises FailedError."""
    every = Program.objects.select_related("host").prefetch_related("processes")
    program = every.filter(name=name).first()
    if program is None and name.isascii() and name.isdigit() and len(name) < 19:
        program = every.filter(pk=int(name)).first()
    if program is None:
        raise FailedError(_no_such(name, list(Program.objects.values_list("name", flat=True))))
    return program


def _no_such(name: str, known: Sequence[str]) -> str:
    return f"There is no program {name}.{did_you_mean(name, known)}"
