"""One instance of a program: starts, stops and restarts its process, and decides what follows an exit.

Everything runs in the agent's event loop. A stop takes time and is a task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from programs import policy
from programs.descriptions import exit_meaning
from programs.events import AGENT
from programs.models import Program
from programs.states import ALIVE, Action, State

from . import launch
from .exit_record import ExitRecord
from .health import Health
from .journal import Entry, ProcessKey
from .memory import MemoryLimit
from .platform import Exit, Identity
from .ports import Context, LaunchError, Timer
from .run import NOT_RUNNING, Run, Usage, columns_after_exit
from .state_machine import StateRecorder
from .stopping import StopResult, StopSequence, kill_tree

log = structlog.get_logger(__name__)

MIN_LAUNCH_RETRY_SECONDS = 0.5


class ManagedProcess(StateRecorder):
    """The supervisor sets `desired` (whether it should run) and `blocked_by` (why it must not start yet)."""

    def __init__(
        self, program: Program, index: int, context: Context, on_change: Callable[[ProcessKey], None]
    ) -> None:
        super().__init__((program.pk, index), context, on_change)
        self.program = program
        self.index = index
        self.desired = False
        self.blocked_by = ""
        self.run: Run | None = None
        self.log_file = launch.log_file(*self.key)
        self.usage = Usage()
        self.health = Health(self, context.make_prober)
        self._timer: Timer | None = None
        self._stop_sequence: StopSequence | None = None
        self._is_failing = False  # the present stop is treated like a crash
        self._tasks: set[asyncio.Task[Any]] = set()
        self._memory = MemoryLimit()

    @property
    def is_alive(self) -> bool:
        return self.state in ALIVE

    @property
    def is_ready(self) -> bool:
        return self.state is State.RUNNING and self.health.is_ready

    def redefine(self, program: Program) -> None:
        """Takes a saved definition: new probes apply now, the command at the next start."""
        has_new_probes = program.probes != self.program.probes
        self.program = program
        if has_new_probes and self.run and self.state is State.RUNNING:
            self._put(Entry(self.key, {"health": ""}))  # the result of the old probes
            self._on_change(self.key)
            self.health.start(self.run.log_start)

    # --- Desired state and actions ----------------------------------------------------------------------

    def reconcile(self) -> None:
        """Moves towards the desired state. Safe to call at any time and repeatedly."""
        if not self.desired:
            self._ensure_stopped()
        elif self.state is State.STOPPED and self.blocked_by:
            self._set_reason(self.blocked_by)
        elif self.state is State.STOPPED:
            self._start("program.started")

    def apply(self, action: Action, actor: str) -> None:
        """An action that `actor` requested. The caller has set `desired` accordingly."""
        self.actor = actor
        ACTION_HANDLERS[action](self)

    def _handle_start(self) -> None:
        self._is_failing = False
        if not self.is_alive:
            self.recent_restarts = ()
            self._reset_to_stopped()
        self.reconcile()

    def _handle_restart(self) -> None:
        if self.state in (State.STARTING, State.RUNNING):
            self.recent_restarts = ()
            self._stop("restart requested")
        else:
            self._handle_start()

    def _handle_kill(self) -> None:
        self.reconcile()
        if self._stop_sequence:
            self._stop_sequence.skip_to_kill()

    def _reset_to_stopped(self) -> None:
        self._cancel_timer()
        if self.state is not State.STOPPED:
            self._enter(State.STOPPED)

    def _ensure_stopped(self) -> None:
        if self.state in (State.STARTING, State.RUNNING):
            self._stop("stop requested")
        elif self.state in (State.BACKOFF, State.EXITED, State.FATAL):
            self._cancel_timer()
            self._enter(State.STOPPED, event="program.stopped", data={"was": self.state})
        elif self.state is State.STOPPED and self.reason:
            self._set_reason("")

    def restart(self, why: str, *, is_failure: bool = False) -> None:
        """A restart by the monitor itself: memory, schedule, health. A failure is treated like a crash."""
        if self.state in (State.STARTING, State.RUNNING):
            self.actor = AGENT
            self._stop(why, is_failure=is_failure)

    # --- Start ------------------------------------------------------------------------------------------

    def _start(self, event: str, exit_entry: Entry | None = None) -> None:
        """Starts the process first and records afterwards: `exit_entry`, then the start."""
        self._cancel_timer()
        self.usage = Usage()
        try:
            run = self.run = self._spawn()
        except LaunchError as error:
            self._put(exit_entry)
            self._handle_launch_error(error)
            return
        self._put(exit_entry)
        data = {"pid": run.identity.pid, "restarts": self.restarts}
        self._enter(State.STARTING, event=event, data=data, **self._columns(run))
        self._wait_until_running(run)

    def _spawn(self) -> Run:
        try:
            return Run.spawn(self.program, self.index, self._exit_noticed, self._context)
        except LaunchError:
            raise
        except Exception as error:  # a fault of ours must not leave it in `stopping` or `backoff` for ever
            log.exception("program.start_failed", program=self.program.name, instance=self.index)
            raise LaunchError(f"the monitor failed to start it: {error}") from error

    def _columns(self, run: Run) -> dict[str, Any]:
        columns = run.columns(self._context.wall_clock())
        return {**columns, "definition_number": getattr(self.program, "number", None)}

    def _wait_until_running(self, run: Run) -> None:
        """Enters `running` once the process has lived for start_seconds."""
        left = self.program.start_seconds - run.uptime
        if left <= 0:
            self._enter_running()
        else:
            self._set_timer(left, self._enter_running)

    def _enter_running(self) -> None:
        self._timer = None
        if self.run:
            self._enter(State.RUNNING, event="program.running", data={"pid": self.run.identity.pid})
            self.actor = AGENT
            self.health.start(self.run.log_start)

    def _handle_launch_error(self, error: LaunchError) -> None:
        log.warning("program.launch_failed", program=self.program.name, instance=self.index, error=str(error))
        if error.is_permanent or self.program.restart_policy == Program.RestartPolicy.NEVER:
            self._give_up(str(error))
        else:
            self._decide_after_exit(ExitRecord(Exit(), 0, str(error)), min_delay=MIN_LAUNCH_RETRY_SECONDS)

    def _give_up(self, reason: str) -> None:
        self._enter(State.FATAL, reason=reason, event="program.fatal", data={"reason": reason}, **NOT_RUNNING)

    # --- Exit and restart -------------------------------------------------------------------------------

    def _exit_noticed(self, run: Run) -> None:
        try:
            self._handle_exit(run)
        except Exception as error:
            self.run = None
            self._give_up_on_fault(error)

    def _give_up_on_fault(self, error: Exception) -> None:
        # Or a fault of ours would leave a dead process in `running` or `stopping`.
        log.exception("program.exit_failed", program=self.program.name, instance=self.index)
        self._give_up(f"the monitor failed to handle its exit: {error}")

    def _handle_exit(self, run: Run) -> None:
        # A stop kills the group itself, after its steps had their time.
        ended = run.reap(kill_group=self._stop_sequence is None)
        if run is not self.run:
            return
        uptime = run.uptime
        self._cancel_timer()
        self.health.stop()
        if self._stop_sequence:
            self._stop_sequence.main_exited(ended)
            return
        self.actor = AGENT
        self.run = None
        self._create_task(self._kill_leftovers(run.identity, run.marker))
        self._handle_unrequested_exit(ended, uptime)

    def kill_leftovers(self, marker: str) -> None:
        """Of a run whose exit nobody watched: its pid may belong to another process, so only the marker counts."""
        self._create_task(self._kill_leftovers(None, marker))

    async def _kill_leftovers(self, main: Identity | None, marker: str) -> None:
        """What the main process left behind may hold its port."""
        killed = await kill_tree(self._context, main, marker)
        if killed:
            log.info("program.leftovers_killed", program=self.program.name, instance=self.index, killed=killed)

    def _handle_unrequested_exit(self, ended: Exit, uptime: float, **data: Any) -> None:
        expected = policy.is_expected_exit(self.program.restart_rules, ended.code, ended.signal)
        out_of_memory = self._context.out_of_memory.is_oom_kill(ended)
        meaning = exit_meaning(ended.code, ended.signal, out_of_memory, launch.shown_executable(self.program))
        record = ExitRecord(ended, uptime, meaning, expected, {"out_of_memory": out_of_memory, **data})
        self._decide_after_exit(record)

    def _decide_after_exit(self, record: ExitRecord, min_delay: float = 0) -> None:
        """Records the exit, with an incident for a crash; then restarts, waits or gives up as `policy` says."""
        decision = policy.decide_after_exit(
            self.program.restart_rules,
            expected=record.expected,
            uptime=record.uptime,
            recent_restarts=self.recent_restarts,
            now=self._context.system.now(),
            random=self._context.random(),
        )
        if decision.state is State.STARTING and min_delay:
            decision = replace(decision, state=State.BACKOFF, delay=min_delay)
        if not self.desired and decision.state is not State.EXITED:
            decision = policy.Decision(State.EXITED)
        data: dict[str, Any] = {}
        if decision.recent_restarts:
            data = {"delay_seconds": round(decision.delay, 3), "restarts": len(decision.recent_restarts)}
        log_end = None if record.expected else self._context.launcher.log_end(*self.key)
        exit_entry = record.entry(self.key, self._context.wall_clock(), self.actor, log_end, **data)
        self.recent_restarts = decision.recent_restarts
        AFTER_EXIT[decision.state](self, decision, record, exit_entry)

    def _restart_now(self, decision: policy.Decision, record: ExitRecord, exit_entry: Entry) -> None:
        self.restarts += 1
        self._start("program.restarted", exit_entry)

    def _restart_after_delay(self, decision: policy.Decision, record: ExitRecord, exit_entry: Entry) -> None:
        self._put(exit_entry)
        next_start_at = self._context.wall_clock() + timedelta(seconds=decision.delay)
        self._enter(
            State.BACKOFF,
            reason=record.reason,
            event="program.backoff",
            data={"delay_seconds": round(decision.delay, 3), "attempt": len(self.recent_restarts)},
            next_start_at=next_start_at.isoformat(),
        )
        self._set_timer(decision.delay, self._restart_after_backoff)

    def _restart_after_backoff(self) -> None:
        self._timer = None
        if self.blocked_by:
            self._enter(State.STOPPED)
            self.reconcile()
        else:
            self.restarts += 1
            self._start("program.restarted")

    def _stay_exited(self, decision: policy.Decision, record: ExitRecord, exit_entry: Entry) -> None:
        self._enter(State.EXITED, reason=record.reason, entry=exit_entry)

    def _give_up_restarting(self, decision: policy.Decision, record: ExitRecord, exit_entry: Entry) -> None:
        self._put(exit_entry)
        self._give_up(f"{decision.reason}; last: {record.reason}")

    # --- Stop -------------------------------------------------------------------------------------------

    def _stop(self, why: str, *, is_failure: bool = False) -> None:
        if self.run is None:
            raise RuntimeError(f"{self.program.name}:{self.index} is {self.state} without a process")
        self._cancel_timer()
        self.health.stop()
        sequence = StopSequence(self.program, self.index, self.run.identity, self.run.marker, self._context)
        self._stop_sequence, self._is_failing = sequence, is_failure
        self._enter(State.STOPPING, reason=why, event="program.stopping", data={"why": why})
        self._create_task(self._finish_stop(self.run, sequence, why))

    async def _finish_stop(self, run: Run, sequence: StopSequence, why: str) -> None:
        uptime = run.uptime
        result = await sequence.run()
        self.run, self._stop_sequence = None, None
        try:
            if self._is_failing and self.desired:
                self._decide_after_exit(ExitRecord(result.exit, uptime, why, data={"step": result.step}))
            else:
                self._handle_stopped(result, why)
        except Exception as error:
            self._give_up_on_fault(error)

    def _handle_stopped(self, result: StopResult, why: str) -> None:
        entry = self._make_entry("program.stopped", {**result.event_data(), "why": why})
        entry.values = columns_after_exit(result.exit)
        if self.desired and not self.blocked_by:
            self.restarts += 1
            self._start("program.restarted", entry)
        else:
            self._enter(State.STOPPED, entry=entry)
            self.actor = AGENT
            self.reconcile()

    # --- Continuing after an agent's restart ------------------------------------------------------------

    def adopt(self, run: Run, state: State) -> None:
        """Continues in `state` with a running process. Raises ProcessLookupError when it has just exited."""
        try:
            run.watch(self._exit_noticed)
        except ProcessLookupError:
            raise
        except OSError as error:  # no free descriptor; giving it up would start a second process beside it
            log.warning("program.not_watched", program=self.program.name, instance=self.index, error=str(error))
            self._create_task(run.watch_later(self._exit_noticed))
        self.run, self.state = run, state
        values = {**self._columns(run), "state": state.value, "reason": ""}
        self.record_event("program.adopted", {"pid": run.identity.pid, "state": state}, self.actor, **values)
        if state is State.STOPPING:
            self.state = State.RUNNING
            self._stop("stop continued after the agent's restart")
        elif state is State.STARTING:
            self._wait_until_running(run)
        else:
            self.health.start(run.log_start)

    def record_missed_exit(self, run: Run, state: State) -> None:
        """The process recorded in `state` exited while no agent was running."""
        self.state = state
        self.kill_leftovers(run.marker)
        if state is State.STOPPING:
            self._enter(State.STOPPED, event="program.stopped", data={"unseen": True}, **NOT_RUNNING)
        else:
            self._handle_unrequested_exit(Exit(), uptime=0.0, unseen=True)

    def restore(self, state: State, next_start_at: datetime | None) -> None:
        """Continues in a state without a process, where the last agent left off."""
        self.state = state
        if state is State.BACKOFF:
            now = self._context.wall_clock()
            left = (next_start_at - now).total_seconds() if next_start_at else 0.0
            # Bounded, because the wall clock may have been set meanwhile.
            self._set_timer(min(max(left, 0.0), self.program.backoff_max), self._restart_after_backoff)
        elif state in ALIVE:  # recorded as alive without a pid: nothing was started
            self.state = State.STOPPED

    # --- Samples, health and timers ---------------------------------------------------------------------

    def needs_usage(self, usage: Usage) -> bool:
        """Whether `update_usage` would do anything; for a thousand idle processes it mostly would not."""
        return usage != self.usage or self.program.max_memory_bytes is not None

    def update_usage(self, usage: Usage) -> None:
        """Publishes a sample that differs, and restarts the process when it exceeds max_memory_bytes."""
        if self.run is None or self.state not in (State.STARTING, State.RUNNING):
            return
        if usage != self.usage:
            self.usage = usage
            self._context.journal.put_latest(self.key, usage._asdict())
        limit = self.program.max_memory_bytes
        if self._memory.is_exceeded(usage.memory_bytes, limit):
            self.restart(f"uses {usage.memory_bytes} bytes of memory, allowed are {limit}")

    def health_changed(self, health: str, detail: str) -> None:
        self.record_event(f"program.{health}", {"detail": detail}, health=health)
        self._on_change(self.key)

    def readiness_changed(self) -> None:
        self._on_change(self.key)

    def _set_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        """Replaces the timer that was set before."""
        self._cancel_timer()
        self._timer = self._context.timers.call_later(seconds, callback)

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _create_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._context.timers.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def detach(self) -> None:
        """Stops supervising; the process itself runs on."""
        self._cancel_timer()
        self.health.stop()
        for task in self._tasks:
            task.cancel()
        if self.run:
            self.run.unwatch()


ACTION_HANDLERS: dict[Action, Callable[[ManagedProcess], None]] = {
    Action.START: ManagedProcess._handle_start,
    Action.STOP: ManagedProcess.reconcile,
    Action.RESTART: ManagedProcess._handle_restart,
    Action.KILL: ManagedProcess._handle_kill,
}
AFTER_EXIT: dict[State, Callable[[ManagedProcess, policy.Decision, ExitRecord, Entry], None]] = {
    State.STARTING: ManagedProcess._restart_now,
    State.BACKOFF: ManagedProcess._restart_after_delay,
    State.EXITED: ManagedProcess._stay_exited,
    State.FATAL: ManagedProcess._give_up_restarting,
}
