"""At the agent's start: which of the programs still run, which ended unseen, and which were never written down.

A process is ours when pid and kernel start time are the recorded ones. One that an agent started and died before
recording is found by its mark. A pid that means somebody else by now is neither adopted nor signalled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import structlog
from structlog.contextvars import bound_contextvars

from programs.models import Process, Program
from programs.states import ALIVE, State

from . import launch, platform
from .journal import Entry, Key
from .platform import Identity
from .process import ManagedProcess
from .process_tree import Snapshot
from .run import NOT_RUNNING, Run

if TYPE_CHECKING:
    from .supervisor import Supervisor

log = structlog.get_logger(__name__)


class Adoption:
    """One pass over the rows and the process table. `asked` are programs whose start somebody waits for."""

    def __init__(self, supervisor: Supervisor, snapshot: Snapshot, asked: Collection[int]) -> None:
        self.adopted = 0
        self._supervisor = supervisor
        self._snapshot = snapshot
        self._asked = asked
        self._strays = strays_by_key(snapshot)

    def run(self, rows: Iterable[Process]) -> int:
        """Puts every process of this host into the state that fits reality; returns how many were taken over."""
        for row in rows:
            with contained(row.program_id, self._supervisor.programs):
                self._row(row)
        for (program_id, index), runs in self._strays.items():
            with contained(program_id, self._supervisor.programs):
                self._stray(program_id, index, runs)
        return self.adopted

    def _row(self, row: Process) -> None:
        program = self._supervisor.programs.get(row.program_id)
        if program is not None:
            process = self._supervisor.process_of(program, row.index)
            _remember(process, row)
            self._adopt(process, row, self._strays.pop(process.key, []))

    def _stray(self, program_id: int, index: int, runs: list[Run]) -> None:
        program = self._supervisor.programs.get(program_id)
        if program is not None:
            self._take_newest(self._supervisor.process_of(program, index), runs)
        elif program_id in self._supervisor.known:
            log.warning("agent.leaves_process_of_another_host", program_id=program_id, instance=index)
        else:
            self._end(runs, "its program is gone")

    def _adopt(self, process: ManagedProcess, row: Process, strays: list[Run]) -> None:
        state = State(row.state)
        recorded = _recorded(row)
        others = [run for run in strays if recorded is None or run.marker != recorded.marker]
        if recorded and self._snapshot.is_running(recorded.who) and (state in ALIVE or len(others) < len(strays)):
            self._end(others, "a second copy")
            self._take_over(process, recorded, state if state in ALIVE else State.STARTING)
        elif others:
            if recorded and state in ALIVE:
                process.note("program.crashed", {"unseen": True, "pid": recorded.who.pid})
            self._take_newest(process, others)
        elif row.boot_id and row.boot_id != platform.boot_id():
            self._machine_restarted(process, state)
        elif recorded and state in ALIVE:
            process.ended_unseen(recorded, state)
        else:
            process.resume_at_rest(state, row.next_start_at)

    def _machine_restarted(self, process: ManagedProcess, was: State) -> None:
        """The machine was off in between: it starts afresh, if it is desired and starts by itself at boot.

        Somebody who has asked for a start since gets it.
        """
        program = process.program
        if not program.autostart and program.pk not in self._asked:
            process.desired = False
            program.desired_state = Program.Desired.STOPPED
            self._supervisor.journal.put(Entry(process.key, desired=program.desired_state.value))
        values: dict[str, Any] = {"boot_id": platform.boot_id()}
        if was is State.STOPPED:
            self._supervisor.journal.put(Entry(process.key, values))
        else:
            values |= {**NOT_RUNNING, "state": State.STOPPED.value, "reason": "", "recent_restarts": []}
            data = {"why": "the machine was restarted", "was": was, "unseen": True}
            process.note("program.exited", data, **values)

    def _take_newest(self, process: ManagedProcess, runs: list[Run]) -> None:
        newest = runs[-1].marker
        self._end([run for run in runs if run.marker != newest], "an older copy")
        self._take_over(process, next(run for run in runs if run.marker == newest), State.STARTING)

    def _take_over(self, process: ManagedProcess, run: Run, state: State) -> None:
        try:
            process.take_over(run, state)
            self.adopted += 1
        except ProcessLookupError:
            process.ended_unseen(run, state)

    def _end(self, runs: Iterable[Run], why: str) -> None:
        for run in runs:
            log.warning("agent.ends_stray_process", pid=run.who.pid, why=why)
            self._supervisor.end(run)


def strays_by_key(snapshot: Snapshot) -> dict[Key, list[Run]]:
    """Running session leaders that carry this installation's mark, oldest first: what an agent started itself."""
    found: dict[Key, list[Run]] = {}
    for pid, marker in snapshot.markers.items():
        info = snapshot.table[pid]
        key = launch.parse_marker(marker)
        if key is not None and info.session == pid and not info.is_zombie and pid not in snapshot.ancestry:
            found.setdefault(key, []).append(Run(snapshot.identity(pid), marker))
    for runs in found.values():
        runs.sort(key=lambda run: run.who.kernel_start)
    return found


def _remember(process: ManagedProcess, row: Process) -> None:
    process.restarts = row.restarts
    process.reason = row.reason
    same_boot = row.boot_id == platform.boot_id()
    process.recent_restarts = tuple(row.recent_restarts) if same_boot else ()


def _recorded(row: Process) -> Run | None:
    if row.pid is None or row.kernel_start is None:
        return None
    return Run(Identity(row.pid, row.kernel_start, row.boot_id), row.marker)


@contextlib.contextmanager
def contained(program_id: int, programs: Mapping[int, Program]) -> Iterator[None]:
    """A fault in dealing with one program must not take supervision from all the others.

    Lines logged inside name the program; so do those of the tasks, timers and exits that are waited for from here.
    """
    name = programs[program_id].name if program_id in programs else ""
    with bound_contextvars(program=name, program_id=program_id):
        try:
            yield
        except Exception:
            log.exception("agent.program_failed")
