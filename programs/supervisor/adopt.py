"""At the agent's start: which of the programs still run, which ended unseen, and which were never written down.

A process is ours when pid and kernel start time are the recorded ones. One that an agent started and died before
recording is found by its mark. A pid that means somebody else by now is neither adopted nor signalled.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from programs.models import Process, event_id
from programs.states import ALIVE, State

from . import launch, platform
from .journal import Key
from .platform import Identity
from .process import ManagedProcess
from .run import Run
from .tree import Snapshot

if TYPE_CHECKING:
    from .supervisor import Supervisor

log = structlog.get_logger(__name__)


def adopt_all(supervisor: Supervisor, rows: Iterable[Process], snapshot: Snapshot) -> int:
    """Puts every process of this host into the state that fits reality; returns how many were taken over."""
    strays = strays_by_key(snapshot)
    adopted = 0
    for row in rows:
        program = supervisor.programs.get(row.program_id)
        if program is None:
            continue
        process = supervisor.process_of(program, row.index)
        _remember(process, row)
        adopted += _adopt(process, row, snapshot, strays.pop(process.key, []))
    for (program_id, index), runs in strays.items():
        program = supervisor.programs.get(program_id)
        if program is None:
            _end(runs, "its program is gone")
        else:
            adopted += _adopt_stray(supervisor.process_of(program, index), runs)
    return adopted


def strays_by_key(snapshot: Snapshot) -> dict[Key, list[Run]]:
    """Running session leaders that carry this installation's mark, oldest first: what an agent started itself."""
    found: dict[Key, list[Run]] = {}
    for pid, marker in snapshot.markers.items():
        info = snapshot.table[pid]
        owner, _, rest = marker.partition("/")
        parts = rest.split("/")
        if owner != launch.installation() or len(parts) != 3 or info.session != pid or info.is_zombie:
            continue
        key = (int(parts[0]), int(parts[1]))
        found.setdefault(key, []).append(Run(snapshot.identity(pid), marker))
    for runs in found.values():
        runs.sort(key=lambda run: run.who.kernel_start)
    return found


def _remember(process: ManagedProcess, row: Process) -> None:
    process.restarts = row.restarts
    process.reason = row.reason
    same_boot = row.boot_id == platform.boot_id()
    process.recent_restarts = tuple(row.recent_restarts) if same_boot else ()


def _adopt(process: ManagedProcess, row: Process, snapshot: Snapshot, strays: list[Run]) -> bool:
    state = State(row.state)
    recorded = _recorded(row)
    if recorded and state in ALIVE and snapshot.is_running(recorded.who):
        # Others with the same mark are its own children, or a second copy whose start was never written down.
        _end([run for run in strays if run.marker != recorded.marker], "a second copy")
        return _take_over(process, recorded, state)
    unrecorded = [run for run in strays if recorded is None or run.marker != recorded.marker]
    if recorded and state in ALIVE:
        if unrecorded:
            process.note("program.crashed", {"unseen": True, "pid": recorded.who.pid})
            return _adopt_stray(process, unrecorded)
        _ended_unseen(process, recorded, state)
        return False
    if unrecorded:
        return _adopt_stray(process, unrecorded)
    _at_rest(process, row, state)
    return False


def _recorded(row: Process) -> Run | None:
    if row.pid is None or row.kernel_start is None:
        return None
    return Run(Identity(row.pid, row.kernel_start, row.boot_id), row.marker)


def _take_over(process: ManagedProcess, run: Run, state: State) -> bool:
    try:
        process.take_over(run, state)
    except ProcessLookupError:
        process.ended_unseen(run, state)
        return False
    return True


def _adopt_stray(process: ManagedProcess, runs: list[Run]) -> bool:
    newest = runs[-1]
    oldest_of_run = next(run for run in runs if run.marker == newest.marker)
    _end([run for run in runs if run.marker != newest.marker], "an older copy")
    return _take_over(process, oldest_of_run, State.STARTING)


def _ended_unseen(process: ManagedProcess, recorded: Run, state: State) -> None:
    if recorded.who.boot_id == platform.boot_id():
        process.ended_unseen(recorded, state)
    else:
        process.machine_restarted(state)


def _at_rest(process: ManagedProcess, row: Process, state: State) -> None:
    if row.boot_id and row.boot_id != platform.boot_id():
        process.machine_restarted(state)
    else:
        process.resume_at_rest(state, row.next_start_at)


def _end(runs: Iterable[Run], why: str) -> None:
    for run in runs:
        log.warning("agent.ends_stray_process", pid=run.who.pid, why=why)
        platform.send_signal(run.who, signal.SIGKILL)


def monitor_event(event: str, data: dict[str, Any]) -> dict[str, Any]:
    """An event of the monitor itself, in the journal's form."""
    at = datetime.now(UTC).isoformat()
    return {"uid": event_id(), "type": event, "at": at, "actor": "agent", "data": data}
