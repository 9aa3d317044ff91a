"""Waits for the outcome of an action. Reads the database: a command listens to no doorbell."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

from core.cli.time_parsing import seconds
from core.locks import is_held
from programs import status
from programs.action_outcome import ActionOutcome, ActionRequest, OutcomeCheck
from programs.formatting import duration_text
from programs.models import Intent, Program
from programs.payloads import ProgramStatus
from programs.states import State
from programs.status import HostState

POLL_SECONDS = 0.05
DEFAULT_TIMEOUT = 30.0
LOCK_CHECK_SECONDS = 2.0  # `serve` replaces an agent that died sooner than that


class Result(NamedTuple):
    """The last known status of a program, and the outcome of its action."""

    program: ProgramStatus
    outcome: ActionOutcome


def add_waiting(parser: ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--timeout",
        type=seconds,
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help=f"wait at most this long, such as 10 or 2m (default: {DEFAULT_TIMEOUT:g})",
    )
    choice.add_argument(
        "--no-wait", action="store_false", dest="wait", help="send the request to the agent and return at once"
    )


def agent_lost_text(host: str | None) -> str:
    return f"the agent on {host or settings.HOST_NAME} sends no heartbeat; is `manage.py serve` running?"


class _StatusReader:
    """Reads the statuses again only after a write, or when an agent was lost or is back."""

    def __init__(self) -> None:
        self._seen: HostState | None = None
        self._programs: dict[int, ProgramStatus] = {}

    def read(self) -> Mapping[int, ProgramStatus]:
        seen, before = status.read_host_state(), self._seen
        if before is None or (seen.revision, seen.alive) != (before.revision, before.alive):
            self._programs = {program["id"]: program for program in status.all_programs(seen)}
            self._seen = seen
        return self._programs


class _LocalAgent:
    """Finds out from its lock that this host's agent is gone, sooner than its heartbeat shows."""

    def __init__(self) -> None:
        self._is_gone = False
        self._next_check = time.monotonic() + LOCK_CHECK_SECONDS

    def is_gone(self) -> bool:
        if time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + LOCK_CHECK_SECONDS
            # Without the file, this host's agent works in another data folder.
            has_run = (Path(settings.RUN_DIR) / "agent.lock").exists()
            self._is_gone = has_run and not is_held("agent")
        return self._is_gone


def wait_for_outcomes(
    requests: Mapping[int, ActionRequest], check: OutcomeCheck, timeout: float, warn: Callable[[str], None]
) -> Iterator[Result]:
    """The result of each program as soon as it is known, at the latest after `timeout` seconds.

    Calls `warn` once with the reason why a program is delayed, and goes on waiting for it.
    """
    waiting = {program_id: request.before for program_id, request in requests.items()}
    reader, warned, local_agent = _StatusReader(), set[int](), _LocalAgent()
    deadline = time.monotonic() + timeout
    while waiting:
        # Before reading, so that the last reading is later than the deadline.
        is_late = time.monotonic() >= deadline
        # Before the statuses: those read after an intent is gone already show its effect.
        pending = set(Intent.objects.filter(program__in=waiting).values_list("program_id", flat=True))
        programs = reader.read()
        for program_id in list(waiting):
            now = programs.get(program_id)
            waiting[program_id] = now or waiting[program_id]
            outcome = _blocked(now, local_agent)
            if outcome is None and now and program_id not in pending:
                outcome = check(requests[program_id], now)
            if outcome is None and is_late:
                outcome = _timed_out(waiting[program_id], timeout)
            if outcome:
                yield Result(waiting.pop(program_id), outcome)
            elif now and program_id not in warned | pending and (reason := _delay_reason(now)):
                warned.add(program_id)
                warn(f"{now['name']}: {reason}")
        if waiting:
            time.sleep(POLL_SECONDS)


def _blocked(now: ProgramStatus | None, local_agent: _LocalAgent) -> ActionOutcome | None:
    if now is None:
        return ActionOutcome(False, "someone removed it meanwhile")
    if now["state"] == State.UNKNOWN or (now["host"] == settings.HOST_NAME and local_agent.is_gone()):
        return ActionOutcome(False, f"requested, but {agent_lost_text(now['host'])}")
    return None


def _delay_reason(now: ProgramStatus) -> str:
    if now["desired_state"] != State.RUNNING:
        return ""
    if now["state"] == State.BACKOFF:
        return f"{now['reason']}; the agent will try again"
    return now["reason"] if now["state"] == State.STOPPED else ""


def _timed_out(program: ProgramStatus, timeout: float) -> ActionOutcome:
    reason = f": {program['reason']}" if program["reason"] else ""
    return ActionOutcome(False, f"{program['state']} after {duration_text(timeout)}{reason}")


def wait_until_removed(program_ids: set[int], timeout: float) -> Iterator[int]:
    """The ids of removed programs once the agent has stopped them; none of those that take longer."""
    left, deadline = set(program_ids), time.monotonic() + timeout
    while left:
        gone = left - set(Program.everything.filter(pk__in=left).values_list("pk", flat=True))
        yield from sorted(gone)
        left -= gone
        if not left or time.monotonic() >= deadline:
            return
        time.sleep(POLL_SECONDS)
