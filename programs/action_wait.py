"""Waiting for what a verb asked for: `?wait=10` of the API. No thread waits; the feed tells of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from asgiref.sync import sync_to_async

from .feed import Subscription
from .payloads import ProcessStatus, ProgramStatus
from .states import Action, State
from .status import one_program

# Should a change ever bear no revision, it is still seen within this time.
LOOK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True)
class ActionGoal:
    """Where a verb leads, seen from the status just before it."""

    verb: Action
    before: ProgramStatus

    def is_reached(self, now: ProgramStatus) -> bool:
        return REACHED[self.verb](self.before, now)

    def is_hopeless(self, now: ProgramStatus) -> bool:
        """Given up by the agent since the verb: no use in waiting on."""
        is_news = any(process["revision"] > self.before["revision"] for process in now["processes"])
        return now["state"] == State.FATAL and is_news and self.verb in (Action.START, Action.RESTART)


async def wait_for(goal: ActionGoal, changes: Subscription, seconds: float) -> ProgramStatus | None:
    """The status when the goal is reached or hopeless, at the latest after `seconds`; None: program removed."""
    program_id = goal.before["id"]
    deadline = asyncio.get_running_loop().time() + seconds
    now = await sync_to_async(one_program)(program_id)
    while now and not goal.is_reached(now) and not goal.is_hopeless(now):
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            break
        try:
            message = await asyncio.wait_for(changes.get(), min(left, LOOK_AGAIN_SECONDS))
        except TimeoutError:
            message = None
        if message is None:
            now = await sync_to_async(one_program)(program_id)
        else:
            now = message.programs.get(program_id, now)
    return now


# --- When a verb has done its work ----------------------------------------------------------------------


def _has_stopped(before: ProgramStatus, now: ProgramStatus) -> bool:
    return now["state"] == State.STOPPED


def _has_started(before: ProgramStatus, now: ProgramStatus) -> bool:
    return _runs_fully(now) or _has_finished_anew(before, now)


def _has_restarted(before: ProgramStatus, now: ProgramStatus) -> bool:
    running = [process for process in now["processes"] if process["state"] == State.RUNNING]
    is_new = all(_is_new(process, before) for process in running)
    return (_runs_fully(now) and is_new) or _has_finished_anew(before, now)


def _runs_fully(now: ProgramStatus) -> bool:
    return now["state"] == State.RUNNING and now["instances"]["running"] >= now["instances"]["desired"]


def _has_finished_anew(before: ProgramStatus, now: ProgramStatus) -> bool:
    """Started since, did its work and ended as it should: also a success for programs that finish."""
    return now["state"] == State.EXITED and all(_is_new(process, before) for process in now["processes"])


def _is_new(process: ProcessStatus, before: ProgramStatus) -> bool:
    """Whether this is another process than the one that had its place before."""
    known = {old["index"]: (old["pid"], old["started_at"]) for old in before["processes"]}
    return known.get(process["index"]) != (process["pid"], process["started_at"])


REACHED: dict[Action, Callable[[ProgramStatus, ProgramStatus], bool]] = {
    Action.START: _has_started,
    Action.STOP: _has_stopped,
    Action.RESTART: _has_restarted,
    Action.KILL: _has_stopped,
}
