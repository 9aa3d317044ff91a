"""One instance of a program: its state, its process, and what to do when either must change.

Everything runs in the agent's loop; what takes time (stopping) is a task of its own.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from programs import policy
from programs.descriptions import exit_meaning
from programs.events import AGENT
from programs.models import Program
from programs.states import ALIVE, Action, State

from . import launch, platform
from .exit_record import Ending
from .health import Health
from .journal import Entry
from .memory import MemoryLimit
from .platform import Exit, Identity
from .run import NOT_RUNNING, Run, Usage, columns_after
from .state_machine import Context, StateRecorder
from .stopping import Ladder, Stopped, clear_leftovers

log = structlog.get_logger(__name__)

SHORTEST_RETRY_SECONDS = 0.5


class ManagedProcess(StateRecorder):
    """State machine of one (program, index). `desired` and `blocked_by` are the supervisor's to set."""

    def __init__(self, program: Program, index: int, around: Context) -> None:
        super().__init__((program.pk, index), around)
        self.program = program
        self.index = index
        self.desired = False
        self.blocked_by = ""
        self.run: Run | None = None
        self.log_file = launch.log_file(*self.key)
        self.usage = Usage()
        self._timer: asyncio.TimerHandle | None = None
        self._ladder: Ladder | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._memory = MemoryLimit()
        self.health = Health(self)

    @property
    def is_alive(self) -> bool:
        return self.state in ALIVE

    @property
    def is_ready(self) -> bool:
        """Runs, and its readiness and liveness probes, if it has any, are content."""
        return self.state is State.RUNNING and self.health.is_good

    def redefine(self, program: Program) -> None:
        """The definition was saved anew: what applies live does so from now on."""
        has_new_probes = program.probes != self.program.probes
        self.program = program
        if has_new_probes and self.run and self.state is State.RUNNING:
            self._put(Entry(self.key, {"health": ""}))  # what earlier probes said counts no more
            self._around.changed(self.key)
            self.health.begin(self.run.log_start)

    # --- Wishes -----------------------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Moves towards what is desired. Harmless to call at any time, as often as one likes."""
        if not self.desired:
            self._settle_down()
        elif self.state is State.STOPPED and self.blocked_by:
            self._explain(self.blocked_by)
        elif self.state is State.STOPPED:
            self._start("program.started")

    def apply(self, verb: Action, actor: str) -> None:
        """A verb that somebody asked for; what it means depends on the state."""
        self.actor = actor
        _VERBS[verb](self)

    def _asked_to_start(self) -> None:
        if not self.is_alive:
            self.recent_restarts = ()
            self._come_to_rest()
        self.reconcile()

    def _asked_to_restart(self) -> None:
        if self.state in (State.STARTING, State.RUNNING):
            self.recent_restarts = ()
            self._stop("restart asked for")
        else:
            self._asked_to_start()

    def _asked_to_stop(self) -> None:
        self.reconcile()

    def _asked_to_kill(self) -> None:
        self.reconcile()
        if self._ladder:
            self._ladder.skip_to_kill()

    def _come_to_rest(self) -> None:
        self._cancel_timer()
        if self.state is not State.STOPPED:
            self._enter(State.STOPPED)

    def _settle_down(self) -> None:
        if self.state in (State.STARTING, State.RUNNING):
            self._stop("stop asked for")
        elif self.state in (State.BACKOFF, State.EXITED, State.FATAL):
            self._cancel_timer()
            self._enter(State.STOPPED, event="program.stopped", data={"was": self.state})
        elif self.state is State.STOPPED and self.reason:
            self._explain("")

    def restart(self, why: str, *, is_failure: bool = False) -> None:
        """A restart by the monitor itself: memory, timetable, health. The last is a failure like a crash."""
        if self.state in (State.STARTING, State.RUNNING):
            self.actor = AGENT
            self._stop(why, is_failure=is_failure)

    # --- Starting ---------------------------------------------------------------------------------------

    def _start(self, event: str, before: Entry | None = None) -> None:
        """Starts the process first and tells afterwards: `before`, then the start itself."""
        self._cancel_timer()
        self.usage = Usage()
        try:
            run = self.run = Run.spawn(self.program, self.index, self._exit_noticed)
        except launch.LaunchError as error:
            self._put(before)
            self._launch_failed(error)
            return
        self._put(before)
        data = {"pid": run.who.pid, "restarts": self.restarts}
        self._enter(State.STARTING, event=event, data=data, **self._running_columns(run))
        self._await_steady(run)

    def _running_columns(self, run: Run) -> dict[str, Any]:
        return {**run.columns(), "definition_number": getattr(self.program, "number", None)}

    def _await_steady(self, run: Run) -> None:
        """`running` once the process has lived for start_seconds."""
        left = self.program.start_seconds - run.uptime
        if left <= 0:
            self._is_steady()
        else:
            self._wait(left, self._is_steady)

    def _is_steady(self) -> None:
        self._timer = None
        if self.run:
            self._enter(State.RUNNING, event="program.running", data={"pid": self.run.who.pid})
            self.actor = AGENT
            self.health.begin(self.run.log_start)

    def _launch_failed(self, error: launch.LaunchError) -> None:
        log.warning("program.launch_failed", program=self.program.name, instance=self.index, error=str(error))
        if error.is_permanent or self.program.restart_policy == Program.RestartPolicy.NEVER:
            self._give_up(str(error))
        else:
            self._decide(Ending(Exit(), 0, str(error)), shortest=SHORTEST_RETRY_SECONDS)

    def _give_up(self, reason: str) -> None:
        self._enter(State.FATAL, reason=reason, event="program.fatal", data={"reason": reason}, **NOT_RUNNING)

    # --- Ending -----------------------------------------------------------------------------------------

    def _exit_noticed(self) -> None:
        """The kernel's notice. A fault of ours in dealing with it must not leave a dead process `running`."""
        try:
            self._on_exit()
        except Exception as error:
            log.exception("program.exit_failed", program=self.program.name, instance=self.index)
            self.run = None
            self._give_up(f"the monitor failed to deal with its end: {error}")

    def _on_exit(self) -> None:
        run = self.run
        if run is None:
            return
        end = run.reap(kill_group=self._ladder is None)  # a stop deals with the group more gently
        uptime = run.uptime
        self.actor = AGENT if not self._ladder else self.actor
        self._cancel_timer()
        self.health.end()
        if self._ladder:
            self._ladder.ended(end)
            return
        self.run = None
        self._spawn_task(self._sweep(run.who, run.marker))
        self._ended(end, uptime)

    async def _sweep(self, main: Identity | None, marker: str) -> None:
        """Ends what the main process left behind, which may sit on its port."""
        killed = await clear_leftovers(self._around.scanner, main, marker)
        if killed:
            log.info("program.leftovers_killed", program=self.program.name, instance=self.index, killed=killed)

    def _ended(self, end: Exit, uptime: float, **facts: Any) -> None:
        """An end that nobody asked for: decides what follows. `facts` go into the event's data."""
        expected = policy.is_expected(self.program.restart_rules, end.code, end.signal)
        out_of_memory = self._around.out_of_memory.took(end)
        meaning = exit_meaning(end.code, end.signal, out_of_memory, launch.executable(self.program))
        self._decide(Ending(end, uptime, meaning, expected, {"out_of_memory": out_of_memory, **facts}))

    def _decide(self, ending: Ending, shortest: float = 0) -> None:
        """Tells of the end and enters what follows; a restart comes after `shortest` seconds at the earliest."""
        decision = policy.after_exit(
            self.program.restart_rules,
            expected=ending.expected,
            uptime=ending.uptime,
            recent_restarts=self.recent_restarts,
            now=platform.now(),
            dice=random.random(),  # noqa: S311  (spreads restarts; nothing secret)
        )
        if decision.state is State.STARTING and shortest:
            decision = replace(decision, state=State.BACKOFF, delay=shortest)
        if not self.desired and decision.state is not State.EXITED:
            decision = policy.Decision(State.EXITED)
        facts: dict[str, Any] = {}
        if decision.recent_restarts:
            facts = {"delay_seconds": round(decision.delay, 3), "restarts": len(decision.recent_restarts)}
        told = ending.entry(self.key, self.actor, **facts)
        self.recent_restarts = decision.recent_restarts
        _NEXT[decision.state](self, decision, ending, told)

    def _restart_now(self, decision: policy.Decision, ending: Ending, told: Entry) -> None:
        self.restarts += 1
        self._start("program.restarted", before=told)

    def _restart_later(self, decision: policy.Decision, ending: Ending, told: Entry) -> None:
        self._put(told)
        moment = datetime.now(UTC) + timedelta(seconds=decision.delay)
        self._enter(
            State.BACKOFF,
            reason=ending.reason,
            event="program.backoff",
            data={"delay_seconds": round(decision.delay, 3), "attempt": len(self.recent_restarts)},
            next_start_at=moment.isoformat(),
        )
        self._wait(decision.delay, self._backoff_over)

    def _backoff_over(self) -> None:
        self._timer = None
        if self.blocked_by:
            self._enter(State.STOPPED)
            self.reconcile()
        else:
            self.restarts += 1
            self._start("program.restarted")

    def _stay_down(self, decision: policy.Decision, ending: Ending, told: Entry) -> None:
        self._enter(State.EXITED, reason=ending.reason, entry=told)

    def _fail(self, decision: policy.Decision, ending: Ending, told: Entry) -> None:
        self._put(told)
        self._give_up(f"{decision.reason}; last: {ending.reason}")

    # --- Stopping ---------------------------------------------------------------------------------------

    def _stop(self, why: str, *, is_failure: bool = False) -> None:
        if self.run is None:
            raise RuntimeError(f"{self.program.name}:{self.index} is {self.state} without a process")
        self._cancel_timer()
        self.health.end()
        self._ladder = Ladder(self.program, self.index, self.run.who, self.run.marker, self._around.scanner)
        self._enter(State.STOPPING, reason=why, event="program.stopping", data={"why": why})
        self._spawn_task(self._climb_down(self.run, self._ladder, why, is_failure))

    async def _climb_down(self, run: Run, ladder: Ladder, why: str, is_failure: bool) -> None:
        uptime = run.uptime
        stopped = await ladder.run()
        self.run, self._ladder = None, None
        if is_failure and self.desired:
            self._decide(Ending(stopped.end, uptime, why, facts={"step": stopped.step}))
        else:
            self._stopped(stopped, why)

    def _stopped(self, stopped: Stopped, why: str) -> None:
        entry = self._entry("program.stopped", {**stopped.facts(), "why": why})
        entry.values = columns_after(stopped.end)
        if self.desired and not self.blocked_by:
            self.restarts += 1
            self._start("program.restarted", before=entry)
        else:
            self._enter(State.STOPPED, entry=entry)
            self.actor = AGENT
            self.reconcile()

    # --- Adoption ---------------------------------------------------------------------------------------

    def take_over(self, run: Run, state: State) -> None:
        """Goes on in `state` with a process that already runs. Raises ProcessLookupError when it just ended."""
        run.watch(self._exit_noticed)
        self.run, self.state = run, state
        values = {**self._running_columns(run), "state": state.value, "reason": ""}
        self.note("program.adopted", {"pid": run.who.pid, "state": self.state}, self.actor, **values)
        if self.state is State.STOPPING:
            self.state = State.RUNNING
            self._stop("stop went on after the agent was away")
        elif self.state is State.STARTING:
            self._await_steady(run)
        else:
            self.health.begin(run.log_start)

    def ended_unseen(self, run: Run, was: State) -> None:
        """The process that the database says is alive ended while no agent looked."""
        self.state = was
        # Nobody watched it to its end, so its number may mean others by now: only its mark counts.
        self._spawn_task(self._sweep(None, run.marker))
        if was is State.STOPPING:
            self._enter(State.STOPPED, event="program.stopped", data={"unseen": True}, **NOT_RUNNING)
        else:
            self._ended(Exit(), uptime=0.0, unseen=True)

    def resume_at_rest(self, state: State, next_start_at: datetime | None) -> None:
        """Goes on waiting where the last agent left off. A clock that was set cannot stretch a delay."""
        self.state = state
        if state is State.BACKOFF:
            left = (next_start_at - datetime.now(UTC)).total_seconds() if next_start_at else 0.0
            self._wait(min(max(left, 0.0), self.program.backoff_max), self._backoff_over)
        elif state in ALIVE:  # recorded as alive without a pid: nothing was started
            self.state = State.STOPPED

    # --- Watching ---------------------------------------------------------------------------------------

    def is_touched_by(self, usage: Usage) -> bool:
        """Whether `observe` would do anything: mostly not, and there may be a thousand to ask."""
        return usage != self.usage or self.program.max_memory_bytes is not None

    def observe(self, usage: Usage) -> None:
        """A new sample: shown if it differs, and held against max_memory_bytes."""
        if self.run is None or self.state not in (State.STARTING, State.RUNNING):
            return
        if usage != self.usage:
            self.usage = usage
            self._around.journal.put_latest(self.key, usage._asdict())
        limit = self.program.max_memory_bytes
        if self._memory.is_broken(usage.memory_bytes, limit):
            self.restart(f"uses {usage.memory_bytes} bytes of memory, allowed are {limit}")

    def health_changed(self, health: str, detail: str) -> None:
        """The probes came to another verdict."""
        self.note(f"program.{health}", {"detail": detail}, health=health)
        self._around.changed(self.key)

    def readiness_changed(self) -> None:
        """Who waits for this process may look again."""
        self._around.changed(self.key)

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        """Has `then` called after so many seconds, instead of what was waited for until now."""
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _spawn_task(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def let_go(self) -> None:
        """Stops watching; the process goes on by itself."""
        self._cancel_timer()
        self.health.end()
        for task in self._tasks:
            task.cancel()
        if self.run:
            self.run.unwatch()


_VERBS: dict[Action, Callable[[ManagedProcess], None]] = {
    Action.START: ManagedProcess._asked_to_start,
    Action.STOP: ManagedProcess._asked_to_stop,
    Action.RESTART: ManagedProcess._asked_to_restart,
    Action.KILL: ManagedProcess._asked_to_kill,
}
_NEXT: dict[State, Callable[[ManagedProcess, policy.Decision, Ending, Entry], None]] = {
    State.STARTING: ManagedProcess._restart_now,
    State.BACKOFF: ManagedProcess._restart_later,
    State.EXITED: ManagedProcess._stay_down,
    State.FATAL: ManagedProcess._fail,
}
