"""`program remove`: stops and deletes programs, after asking."""

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

from .selection import add_all, add_selection, selected_programs
from .wait import add_waiting, agent_lost_text, wait_until_removed


class Remove(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_selection(parser)
        add_all(parser)
        parser.add_argument("-y", "--yes", action="store_true", help="don't ask for confirmation")
        add_waiting(parser)

    def run(self, options: Options, terminal: Terminal) -> Exit:
        chosen = selected_programs(options)
        if not chosen:
            terminal.warn("There are no programs.")
            return Exit.DONE
        if not options.yes:
            _confirm(chosen, terminal)
        _remove(chosen)
        if not options.wait:
            for program in chosen:
                terminal.say(f"{program['name']}: removal requested")
            return Exit.DONE
        return _wait(chosen, options.timeout, terminal)


def _confirm(chosen: Sequence[ProgramStatus], terminal: Terminal) -> None:
    """Raises FailedError without a yes, or without a terminal to ask on."""
    names = ", ".join(program["name"] for program in chosen[:10])
    more = f" and {len(chosen) - 10} more" if len(chosen) > 10 else ""
    if not terminal.is_interactive:
        raise FailedError(f"This removes {names}{more} with definition and logs. Confirm with --yes.")
    if not terminal.confirms(f"Stop and remove {names}{more}, with definition and logs? [y/N] "):
        raise FailedError("Nothing was removed.")


def _remove(chosen: Sequence[ProgramStatus]) -> None:
    """All or none, dependents before what they depend on. Raises ConflictError."""
    left = list(Program.objects.filter(pk__in=[program["id"] for program in chosen]))
    actor = command_actor()
    with transaction.atomic():
        while left:
            free = [program for program in left if not _is_needed_by(program, left)]
            # None is free when one that stays depends on it: then the service names the dependent.
            for program in free or list(left):
                services.remove(program, actor=actor)
                left.remove(program)


def _is_needed_by(program: Program, others: Sequence[Program]) -> bool:
    return program.dependents.filter(program__in=others).exists()


def _wait(chosen: Sequence[ProgramStatus], timeout: float, terminal: Terminal) -> Exit:
    names = {program["id"]: program["name"] for program in chosen}
    unreachable = [program for program in chosen if program["state"] == State.UNKNOWN]
    for host in sorted({program["host"] or "" for program in unreachable}):
        terminal.warn(f"The agent must stop the processes first, but {agent_lost_text(host)}")
    for program in unreachable:
        terminal.say(f"{names.pop(program['id'])}: removal requested")
    for program_id in wait_until_removed(set(names), timeout):
        terminal.say(f"{names.pop(program_id)}: removed")
    for name in names.values():
        terminal.say(f"{name}: not removed yet; the agent is still stopping it")
    return Exit.FAILED if names or unreachable else Exit.DONE
