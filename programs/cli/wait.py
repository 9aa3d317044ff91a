"""Waits for what the agent makes of a wish, by looking at the database: a command has no doorbell of its own."""

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
from programs.action_outcome import Asked, Judge, Verdict
from programs.formatting import duration_text
from programs.models import Intent, Program
from programs.payloads import ProgramStatus
from programs.states import State
from programs.status import HostState

POLL_SECONDS = 0.05
DEFAULT_TIMEOUT = 30.0
LOCK_GRACE_SECONDS = 2.0  # `serve` starts a new agent sooner than that


class Outcome(NamedTuple):
    """What became of one program: its last known status, and the verdict on it."""

    program: ProgramStatus
    verdict: Verdict


def add_waiting(parser: ArgumentParser) -> None:
    patience = parser.add_mutually_exclusive_group()
    patience.add_argument(
        "--timeout",
        type=seconds,
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help=f"wait at most so long, also as 2m (default: {DEFAULT_TIMEOUT:g})",
    )
    patience.add_argument("--no-wait", action="store_false", dest="wait", help="ask the agent and return at once")


def silent_text(host: str | None) -> str:
    return f"the agent of host {host or settings.HOST_NAME} is silent: is `manage.py serve` running?"


class _Latest:
    """The statuses, read again only when something was written or an agent fell silent."""

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
    """Notices by its free lock that this host's agent is gone, sooner than its heartbeat tells."""

    def __init__(self) -> None:
        self._is_gone = False
        self._next_look = time.monotonic() + LOCK_GRACE_SECONDS

    def is_gone(self) -> bool:
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOCK_GRACE_SECONDS
            # Without the file the agent of this host works from another data folder.
            has_run = (Path(settings.RUN_DIR) / "agent.lock").exists()
            self._is_gone = has_run and not is_held("agent")
        return self._is_gone


def outcomes(
    asked: Mapping[int, Asked], judge: Judge, timeout: float, tell: Callable[[str], None]
) -> Iterator[Outcome]:
    """The outcome of each program as soon as it is known, at the latest after `timeout` seconds.

    `tell` hears once why a program is held up: the wait goes on, but a person should know.
    """
    waiting = {program_id: wish.before for program_id, wish in asked.items()}
    latest, told, local_agent = _Latest(), set[int](), _LocalAgent()
    deadline = time.monotonic() + timeout
    while waiting:
        is_late = time.monotonic() >= deadline
        # Intents first: once they are gone, the statuses read after them show what came of them.
        unheard = set(Intent.objects.filter(program__in=waiting).values_list("program_id", flat=True))
        programs = latest.read()
        for program_id in list(waiting):
            now = programs.get(program_id)
            waiting[program_id] = now or waiting[program_id]
            verdict = _hindrance(now, local_agent)
            if verdict is None and now and program_id not in unheard:
                verdict = judge(asked[program_id], now)
            if verdict is None and is_late:
                verdict = _too_late(waiting[program_id], timeout)
            if verdict:
                yield Outcome(waiting.pop(program_id), verdict)
            elif now and program_id not in told | unheard and (why := _held_up(now)):
                told.add(program_id)
                tell(f"{now['name']}: {why}")
        if waiting:
            time.sleep(POLL_SECONDS)


def _hindrance(now: ProgramStatus | None, local_agent: _LocalAgent) -> Verdict | None:
    """Why waiting on makes no sense."""
    if now is None:
        return Verdict(False, "somebody removed it meanwhile")
    if now["state"] == State.UNKNOWN or (now["host"] == settings.HOST_NAME and local_agent.is_gone()):
        return Verdict(False, f"asked for, but {silent_text(now['host'])}")
    return None


def _held_up(now: ProgramStatus) -> str:
    """Why a start takes longer: it failed and is tried again, or needs another program first."""
    if now["desired_state"] != State.RUNNING:
        return ""
    if now["state"] == State.BACKOFF:
        return f"{now['reason']}; the agent will try again"
    return now["reason"] if now["state"] == State.STOPPED else ""


def _too_late(program: ProgramStatus, timeout: float) -> Verdict:
    reason = f": {program['reason']}" if program["reason"] else ""
    return Verdict(False, f"{program['state']} after {duration_text(timeout)}{reason}")


def until_gone(programs: Mapping[int, str], timeout: float) -> Iterator[int]:
    """The ids of removed programs as the agent forgets them; those left after `timeout` seconds never come."""
    left, deadline = set(programs), time.monotonic() + timeout
    while left:
        gone = left - set(Program.everything.filter(pk__in=left).values_list("pk", flat=True))
        yield from sorted(gone)
        left -= gone
        if not left or time.monotonic() >= deadline:
            return
        time.sleep(POLL_SECONDS)
