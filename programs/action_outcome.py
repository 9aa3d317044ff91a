"""Whether a program has come where somebody wanted it. Pure: two statuses in, a verdict out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from core.cli.tables import counted
from programs.payloads import ProcessStatus, ProgramStatus
from programs.states import Action, State


@dataclass(frozen=True)
class Asked:
    """What was asked of a program: how it was before, and which exit codes it calls a success."""

    before: ProgramStatus
    success_exit_codes: Collection[int] = (0,)


@dataclass(frozen=True)
class Verdict:
    reached: bool
    text: str


Judge = Callable[[Asked, ProgramStatus], Verdict | None]


def started(asked: Asked, now: ProgramStatus) -> Verdict | None:
    """Every wanted instance runs, or has done its work already; None while that may still become true."""
    return _up(asked, now, _wanted(now))


def restarted(asked: Asked, now: ProgramStatus) -> Verdict | None:
    """As `started`, and none of the processes is one that was there before."""
    old = {_life(process) for process in asked.before["processes"]}
    return _up(asked, now, [process for process in _wanted(now) if _life(process) not in old])


def _up(asked: Asked, now: ProgramStatus, processes: Sequence[ProcessStatus]) -> Verdict | None:
    if now["desired_state"] != State.RUNNING:
        return Verdict(False, "somebody asked it to stop meanwhile")
    if not now["instances"]["desired"]:
        return Verdict(True, "no instances are wanted")
    ended = [process for process in processes if _has_ended(asked, process)]
    if failed := next((process for process in ended if not _went_well(asked, process)), None):
        return Verdict(False, _explained(failed))
    running = [process for process in processes if process["state"] == State.RUNNING]
    if len(running) + len(ended) < now["instances"]["desired"]:
        return None
    return Verdict(True, running_text(running) if running else _explained(ended[0]))


def _wanted(now: ProgramStatus) -> list[ProcessStatus]:
    return [process for process in now["processes"] if process["index"] < now["instances"]["desired"]]


def _life(process: ProcessStatus) -> tuple[int, int | None, str | None]:
    return process["index"], process["pid"], process["started_at"]


def _has_ended(asked: Asked, process: ProcessStatus) -> bool:
    """For good, and after the question: what is older than that may still be about to start."""
    known = {old["index"]: old["revision"] for old in asked.before["processes"]}
    is_news = process["revision"] > known.get(process["index"], -1)
    return is_news and process["state"] in (State.FATAL, State.EXITED)


def _went_well(asked: Asked, process: ProcessStatus) -> bool:
    return process["state"] == State.EXITED and process["exit_code"] in asked.success_exit_codes


def _explained(process: ProcessStatus) -> str:
    return f"{process['state']}: {process['reason']}" if process["reason"] else process["state"]


def running_text(running: Sequence[ProcessStatus]) -> str:
    if len(running) == 1:
        return f"running (pid {running[0]['pid']})"
    return f"running ({counted(len(running), 'instance')}: pids {', '.join(str(p['pid']) for p in running)})"


def stopped(asked: Asked, now: ProgramStatus) -> Verdict | None:
    """No instance runs or is about to."""
    if now["desired_state"] == State.RUNNING:
        return Verdict(False, "somebody asked it to start meanwhile")
    if any(process["state"] != State.STOPPED for process in now["processes"]):
        return None
    return Verdict(True, f"stopped{_ending(asked.before['processes'], now['processes'])}")


def _ending(before: Sequence[ProcessStatus], now: Sequence[ProcessStatus]) -> str:
    """How the only process ended, if it is this stop that ended it."""
    if len(before) != 1 or len(now) != 1 or before[0]["pid"] is None:
        return ""
    [process] = now
    if process["exit_signal"]:
        return f" (by {process['exit_signal']})"
    return "" if process["exit_code"] is None else f" (exit code {process['exit_code']})"


def scaled(asked: Asked, now: ProgramStatus) -> Verdict | None:
    """As many instances run as are wanted, no more and no fewer."""
    wanted = now["instances"]["desired"]
    if now["desired_state"] != State.RUNNING:
        return Verdict(True, f"{counted(wanted, 'instance')} once it is started")
    if len(now["processes"]) > wanted:
        return None
    return started(asked, now)


JUDGES: dict[Action, Judge] = {
    Action.START: started,
    Action.STOP: stopped,
    Action.RESTART: restarted,
    Action.KILL: stopped,
}


def already(verb: Action, now: ProgramStatus) -> Verdict | None:
    """What a refused verb has left to want: nothing where the program is there; None where it is on its way."""
    at_rest = {State.STOPPED, State.EXITED, State.FATAL}
    if verb in (Action.STOP, Action.KILL):
        return Verdict(True, f"already {now['state']}") if now["state"] in at_rest else None
    verdict = started(Asked(now), now)
    return Verdict(True, f"already {verdict.text}") if verdict and verdict.reached else None
