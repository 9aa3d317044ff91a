"""`program remove`: stops programs and forgets them, after asking."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence

from django.db import transaction

from core.access import command_actor
from core.cli.exit_codes import Exit, FailedError
from core.cli.subcommand import Subcommand
from core.cli.terminal import Options, Terminal
from programs import services
from programs.models import Program
from programs.payloads import ProgramStatus
from programs.states import State

from .selection import add_all, add_selection, expressly_named
from .wait import add_waiting, silent_text, until_gone


class Remove(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_selection(parser)
        add_all(parser)
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
        add_waiting(parser)

    def run(self, options: Options, terminal: Terminal) -> Exit:
        chosen = expressly_named(options)
        if not chosen:
            terminal.warn("There are no programs.")
            return Exit.DONE
        if not options.yes:
            _confirm(chosen, terminal)
        _remove(chosen)
        if not options.wait:
            return _tell(chosen, "removal asked for", terminal)
        return _await(chosen, options.timeout, terminal)


def _confirm(chosen: Sequence[ProgramStatus], terminal: Terminal) -> None:
    """Raises FailedError without a yes, and where nobody can be asked."""
    names = ", ".join(program["name"] for program in chosen[:10])
    more = f" and {len(chosen) - 10} more" if len(chosen) > 10 else ""
    if not terminal.is_interactive:
        raise FailedError(f"This removes {names}{more} with definition and logs; say --yes to do it.")
    if not terminal.confirms(f"Stop and remove {names}{more}, with definition and logs? [y/N] "):
        raise FailedError("Nothing was removed.")


def _remove(chosen: Sequence[ProgramStatus]) -> None:
    """All or none, those that need others before what they need. Raises ConflictError."""
    left = list(Program.objects.filter(pk__in=[program["id"] for program in chosen]))
    actor = command_actor()
    with transaction.atomic():
        services.lock_programs(Program.objects.filter(pk__in=[program.pk for program in left]))
        while left:
            free = [program for program in left if not _is_needed_by(program, left)]
            # In a circle, or needed by one that stays: the service says by whom.
            for program in free or list(left):
                services.remove(program, actor=actor)
                left.remove(program)


def _is_needed_by(program: Program, others: Sequence[Program]) -> bool:
    return program.dependents.filter(program__in=others).exists()


def _await(chosen: Sequence[ProgramStatus], timeout: float, terminal: Terminal) -> Exit:
    names = {program["id"]: program["name"] for program in chosen}
    silent = [program for program in chosen if program["state"] == State.UNKNOWN]
    for host in sorted({program["host"] or "" for program in silent}):
        terminal.warn(f"Gone once the agent has stopped what runs, but {silent_text(host)}")
    for program in silent:
        terminal.say(f"{names.pop(program['id'])}: removal asked for")
    for program_id in until_gone(names, timeout):
        terminal.say(f"{names.pop(program_id)}: removed")
    for name in names.values():
        terminal.say(f"{name}: not gone yet; the agent still stops it")
    return Exit.FAILED if names or silent else Exit.DONE


def _tell(chosen: Sequence[ProgramStatus], text: str, terminal: Terminal) -> Exit:
    for program in chosen:
        terminal.say(f"{program['name']}: {text}")
    return Exit.DONE
