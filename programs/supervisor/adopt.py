"""At the agent's start: which processes still run, which exited meanwhile, and which were never recorded.

A process is ours if both pid and kernel start time are the recorded ones. One that an agent started but did not
live to record is found by its marker. A pid that was reused is neither adopted nor signalled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import structlog

from programs.models import Process, Program
from programs.states import ALIVE, State

from .fault_isolation import isolate_faults
from .journal import Entry, ProcessKey
from .platform import Identity
from .ports import Context
from .process import ManagedProcess
from .process_tree import Snapshot
from .registry import ProcessRegistry
from .run import NOT_RUNNING, Run

log = structlog.get_logger(__name__)


class Adoption:
    """One pass over the rows and the process table.

    `requested` are the ids of programs with a start that is not carried out yet; `end_run` kills a process that
    must not run, with its tree.
    """

    def __init__(
        self,
        registry: ProcessRegistry,
        context: Context,
        snapshot: Snapshot,
        requested: Collection[int],
        end_run: Callable[[Run], None],
    ) -> None:
        self._registry = registry
        self._context = context
        self._snapshot = snapshot
        self._requested = requested
        self._end_run = end_run
        self._unrecorded = marked_runs(snapshot, context)
        self._adopted = 0

    def run(self, rows: Iterable[Process]) -> int:
        """Puts every process of this host into the state that matches reality; returns how many were adopted."""
        for row in rows:
            with isolate_faults(row.program_id, self._registry.programs):
                self._restore_row(row)
        for (program_id, index), runs in self._unrecorded.items():
            with isolate_faults(program_id, self._registry.programs):
                self._adopt_unrecorded(program_id, index, runs)
        for marker in self._snapshot.by_marker:
            self._kill_leftovers(marker)
        return self._adopted

    def _restore_row(self, row: Process) -> None:
        program = self._registry.programs.get(row.program_id)
        if program is None:
            return
        process = self._registry.process(program, row.index)
        process.restarts = row.restarts
        process.reason = row.reason
        # The timestamps count from boot.
        is_same_boot = row.boot_id == self._context.system.boot_id()
        process.recent_restarts = tuple(row.recent_restarts) if is_same_boot else ()
        self._match(process, row, self._unrecorded.pop(process.key, []))

    def _adopt_unrecorded(self, program_id: int, index: int, runs: list[Run]) -> None:
        program = self._registry.programs.get(program_id)
        if program is not None:
            self._adopt_newest(self._registry.process(program, index), runs)
        elif program_id in self._registry.known_ids:
            log.warning("agent.leaves_process_of_another_host", program_id=program_id, instance=index)
        else:
            self._end(runs, "its program is gone")

    def _match(self, process: ManagedProcess, row: Process, marked: list[Run]) -> None:
        """`marked` are the running processes that carry a marker of this instance."""
        state = State(row.state)
        recorded = self._recorded_run(row)
        # One with the row's marker that is not the recorded process was left behind by it.
        others = [run for run in marked if run.marker != row.marker]
        is_running = recorded is not None and self._snapshot.is_running(recorded.identity)
        if recorded and is_running and (state in ALIVE or len(others) < len(marked)):
            self._end(others, "a second copy")
            self._adopt(process, recorded, state if state in ALIVE else State.STARTING)
        elif others:
            if recorded and state in ALIVE:
                process.record_event("program.crashed", {"unseen": True, "pid": recorded.identity.pid})
            self._adopt_newest(process, others)
        elif row.boot_id and row.boot_id != self._context.system.boot_id():
            self._handle_reboot(process, state)
        elif recorded and state in ALIVE:
            process.record_missed_exit(recorded, state)
        else:
            process.restore(state, row.next_start_at)

    def _handle_reboot(self, process: ManagedProcess, state: State) -> None:
        """`state` is the one before. Only an autostart, or a start requested since, starts it again."""
        program = process.program
        if not program.autostart and program.pk not in self._requested:
            process.desired = False
            program.desired_state = Program.Desired.STOPPED
            self._context.journal.put(Entry(process.key, desired=program.desired_state.value))
        values: dict[str, Any] = {"boot_id": self._context.system.boot_id()}
        if state is State.STOPPED:
            self._context.journal.put(Entry(process.key, values))
        else:
            values |= {**NOT_RUNNING, "state": State.STOPPED.value, "reason": "", "recent_restarts": []}
            data = {"why": "the machine was restarted", "was": state, "unseen": True}
            process.record_event("program.exited", data, **values)

    def _kill_leftovers(self, marker: str) -> None:
        """What a run left behind whose exit the last agent did not live to handle."""
        key = self._context.launcher.parse_marker(marker)
        process = self._registry.find(key) if key else None
        if process and (process.run is None or process.run.marker != marker):
            process.kill_leftovers(marker)

    def _adopt_newest(self, process: ManagedProcess, runs: list[Run]) -> None:
        newest = runs[-1].marker
        self._end([run for run in runs if run.marker != newest], "an older copy")
        self._adopt(process, next(run for run in runs if run.marker == newest), State.STARTING)

    def _adopt(self, process: ManagedProcess, run: Run, state: State) -> None:
        try:
            process.adopt(run, state)
            self._adopted += 1
        except ProcessLookupError:
            process.record_missed_exit(run, state)

    def _recorded_run(self, row: Process) -> Run | None:
        if row.pid is None or row.kernel_start is None:
            return None
        return Run(Identity(row.pid, row.kernel_start, row.boot_id), row.marker, self._context.system)

    def _end(self, runs: Iterable[Run], why: str) -> None:
        for run in runs:
            log.warning("agent.ends_stray_process", pid=run.identity.pid, why=why)
            self._end_run(run)


def marked_runs(snapshot: Snapshot, context: Context) -> dict[ProcessKey, list[Run]]:
    """Running session leaders that carry this installation's marker, oldest first: an agent started them."""
    found: dict[ProcessKey, list[Run]] = {}
    for pid, marker in snapshot.markers.items():
        info = snapshot.table[pid]
        key = context.launcher.parse_marker(marker)
        if key is not None and info.session == pid and not info.is_zombie and pid not in snapshot.ancestry:
            found.setdefault(key, []).append(Run(snapshot.identity(pid), marker, context.system))
    for runs in found.values():
        runs.sort(key=lambda run: run.identity.kernel_start)
    return found
