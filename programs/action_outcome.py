"""Has an action succeeded? Pure: the statuses before and now in, the outcome out.

The API's `?wait=`, the commands and their exit codes all ask here, so they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from core.cli.tables import counted
from programs.payloads import ProcessStatus, ProgramStatus
from programs.states import AT_REST, Action, State


@dataclass(frozen=True)
class ActionRequest:
    """`before` is the status just before the action was requested."""

    before: ProgramStatus
    success_exit_codes: Collection[int] = (0,)


@dataclass(frozen=True)
class ActionOutcome:
    is_reached: bool
    text: str


# None: not decided yet.
OutcomeCheck = Callable[[ActionRequest, ProgramStatus], ActionOutcome | None]


def started(request: ActionRequest, now: ProgramStatus) -> ActionOutcome | None:
    """Reached once every desired instance runs, or has run since the request and exited successfully."""
    return _up(request, now, _desired(now))


def restarted(request: ActionRequest, now: ProgramStatus) -> ActionOutcome | None:
    """As `started`, and every process is another one than before."""
    old = {_identity(process) for process in request.before["processes"]}
    return _up(request, now, [process for process in _desired(now) if _identity(process) not in old])


def stopped(request: ActionRequest, now: ProgramStatus) -> ActionOutcome | None:
    """Reached once no instance runs or is about to."""
    if now["state"] == State.UNKNOWN:
        return None
    if now["desired_state"] == State.RUNNING:
        return ActionOutcome(False, "someone started it again meanwhile")
    if any(process["state"] != State.STOPPED for process in now["processes"]):
        return None
    return ActionOutcome(True, f"stopped{_exit_text(request.before['processes'], now['processes'])}")


def scaled(request: ActionRequest, now: ProgramStatus) -> ActionOutcome | None:
    """Reached once exactly as many instances run as are desired."""
    desired = now["instances"]["desired"]
    if now["desired_state"] != State.RUNNING:
        return ActionOutcome(True, f"{counted(desired, 'instance')} once it is started")
    if len(now["processes"]) > desired:
        return None
    return started(request, now)


OUTCOMES: dict[Action, OutcomeCheck] = {
    Action.START: started,
    Action.STOP: stopped,
    Action.RESTART: restarted,
    Action.KILL: stopped,
}


def existing_outcome(action: Action, now: ProgramStatus) -> ActionOutcome | None:
    """The outcome of an action that was refused because the program is there already; None when it isn't."""
    if action in (Action.STOP, Action.KILL):
        return ActionOutcome(True, f"already {now['state']}") if now["state"] in AT_REST else None
    outcome = started(ActionRequest(now), now)
    return ActionOutcome(True, f"already {outcome.text}") if outcome and outcome.is_reached else None


def _up(request: ActionRequest, now: ProgramStatus, processes: Sequence[ProcessStatus]) -> ActionOutcome | None:
    if now["state"] == State.UNKNOWN:
        return None
    if now["desired_state"] != State.RUNNING:
        return ActionOutcome(False, "someone stopped it meanwhile")
    if not now["instances"]["desired"]:
        return ActionOutcome(True, "no instances are desired")
    ended = [process for process in processes if _has_ended(request, process)]
    if failed := next((process for process in ended if not _is_success(request, process)), None):
        return ActionOutcome(False, _state_text(failed))
    running = [process for process in processes if process["state"] == State.RUNNING]
    if len(running) + len(ended) < now["instances"]["desired"]:
        return None
    return ActionOutcome(True, _running_text(running) if running else _state_text(ended[0]))


def _desired(now: ProgramStatus) -> list[ProcessStatus]:
    return [process for process in now["processes"] if process["index"] < now["instances"]["desired"]]


def _identity(process: ProcessStatus) -> tuple[int, int | None, str | None]:
    return process["index"], process["pid"], process["started_at"]


def _has_ended(request: ActionRequest, process: ProcessStatus) -> bool:
    """For good, and since the request: an older end may still be followed by the start."""
    known = {old["index"]: old["revision"] for old in request.before["processes"]}
    is_new = process["revision"] > known.get(process["index"], -1)
    return is_new and process["state"] in (State.FATAL, State.EXITED)


def _is_success(request: ActionRequest, process: ProcessStatus) -> bool:
    return process["state"] == State.EXITED and process["exit_code"] in request.success_exit_codes


def _state_text(process: ProcessStatus) -> str:
    return f"{process['state']}: {process['reason']}" if process["reason"] else process["state"]


def _running_text(running: Sequence[ProcessStatus]) -> str:
    if len(running) == 1:
        return f"running (pid {running[0]['pid']})"
    return f"running ({counted(len(running), 'instance')}: pids {', '.join(str(p['pid']) for p in running)})"


def _exit_text(before: Sequence[ProcessStatus], now: Sequence[ProcessStatus]) -> str:
    """How the only process ended, if this stop ended it."""
    if len(before) != 1 or len(now) != 1 or before[0]["pid"] is None:
        return ""
    [process] = now
    if process["exit_signal"]:
        return f" (by {process['exit_signal']})"
    return "" if process["exit_code"] is None else f" (exit code {process['exit_code']})"
