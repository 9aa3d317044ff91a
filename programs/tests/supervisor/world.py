"""A host with its agent, entirely in memory and in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from programs.models import Host, Intent, Program
from programs.states import ALIVE, Action, State
from programs.supervisor.journal import ProcessKey
from programs.supervisor.oom import OomDetector
from programs.supervisor.platform import Exit
from programs.supervisor.ports import Context, LaunchError
from programs.supervisor.process import ManagedProcess
from programs.supervisor.run import Usage
from programs.supervisor.supervisor import Supervisor

from .machine import FakeMachine, FakeProcess
from .memory_database import MemoryDatabase, MemoryJournal
from .virtual_loop import VirtualTimeLoop

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
TICK = 0.05  # enough for everything that needs no timer of the definition
LIMIT = 1000  # bytes of memory, for programs with a limit
RUNNING, STOPPED = Program.Desired.RUNNING, Program.Desired.STOPPED


class AgentKilled(SystemExit):
    """Passes through the event loop and every `except Exception`, like SIGKILL."""


class World:
    """`act` and the fault methods change something, `advance` lets virtual time pass."""

    def __init__(self) -> None:
        self.loop = VirtualTimeLoop()
        self.machine = FakeMachine(self.loop)
        self.database = MemoryDatabase(host_id=1)
        self.host = Host(pk=1, name="here", is_default=True)
        self.other_host = Host(pk=2, name="elsewhere")
        self.clock_shift = 0.0
        self.random = 0.5
        self.supervisor: Supervisor | None = None
        self._journal: MemoryJournal | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._wake_up: asyncio.Event | None = None
        self._ids = itertools.count(1)
        self.puts_until_death: int | None = None

    # --- The agent ---

    def start_agent(self) -> Supervisor:
        self._journal = MemoryJournal(self.database, self._count_puts)
        context = Context(
            **self.machine.settings(),
            journal=self._journal,
            out_of_memory=OomDetector(lambda: self.machine.oom_count, self.machine.now),
            wall_clock=self.wall_clock,
            random=lambda: self.random,
        )
        self.supervisor = Supervisor(self.host, context, self.database, self._wake_ups)
        self._stop = asyncio.Event()
        self._task = self.loop.create_task(self.supervisor.run(self._stop))
        self.advance()
        return self.supervisor

    @property
    def journal(self) -> MemoryJournal:
        assert self._journal is not None
        return self._journal

    @property
    def agent(self) -> Supervisor:
        assert self.supervisor is not None
        return self.supervisor

    def stop_agent(self) -> None:
        """A clean stop. Checks that it leaves no timer and no task behind."""
        self._stop.set()
        assert self._task is not None
        self.loop.run_until_complete(self._task)
        self.loop.advance(0)
        assert asyncio.all_tasks(self.loop) == set(), "tasks are left"
        assert self.loop.pending_timers() == [], "timers are left"
        self._forget_agent()

    def kill_agent(self) -> None:
        """SIGKILL: nothing of it runs again, its programs do."""
        assert self._journal is not None
        self._journal.is_open = False
        dead, self.loop = self.loop, VirtualTimeLoop(self.loop.now)
        self.machine.loop = self.loop
        self._forget_agent()
        # Its tasks end on a loop of their own: the journal is closed and no watch is open, so nothing comes of it.
        dead.set_exception_handler(lambda loop, context: None)
        while tasks := asyncio.all_tasks(dead):
            for task in tasks:
                task.cancel()
            dead.call_soon(dead.stop)
            dead.run_forever()
        dead.close()

    def _forget_agent(self) -> None:
        self.machine.orphan_all()
        self.supervisor = self._journal = self._task = self._wake_up = None
        self.puts_until_death = None

    def _count_puts(self) -> None:
        if self.puts_until_death is not None:
            self.puts_until_death -= 1
            if self.puts_until_death < 0:
                raise AgentKilled

    @asynccontextmanager
    async def _wake_ups(self) -> AsyncIterator[asyncio.Event]:
        self._wake_up = asyncio.Event()
        yield self._wake_up

    def wall_clock(self) -> datetime:
        return EPOCH + timedelta(seconds=self.loop.now + self.clock_shift)

    def advance(self, seconds: float = TICK) -> None:
        try:
            self.loop.advance(seconds)
            if self._task and self._task.done():
                self._task.result()
        except AgentKilled:
            self.kill_agent()

    def notify(self) -> None:
        """The wake-up signal for a changed database."""
        if self._wake_up:
            self._wake_up.set()

    # --- What people do ---

    def define(self, name: str = "web", *, desired: bool = True, **fields: Any) -> Program:
        instances = fields.get("instances_min", 1)
        defaults = {"command": "run", "instances_min": instances, "instances_max": 4, "host": None}
        program = Program(pk=next(self._ids), name=name, **{**defaults, **fields})
        program.desired_instances = instances
        program.desired_state = RUNNING if desired else STOPPED
        self.database.save(program)
        self.notify()
        return program

    def require(self, program: Program, required: Program, condition: str = "started") -> None:
        self.database.dependencies.setdefault(program.pk, []).append((required.pk, condition))
        self.save(program)

    def save(self, program: Program, **fields: Any) -> None:
        """Saves a changed definition."""
        for name, value in fields.items():
            setattr(program, name, value)
        self.database.save(program)
        self.notify()

    def act(self, program: Program, action: Action, actor: str = "alice") -> None:
        is_start = action in (Action.START, Action.RESTART)
        program.desired_state = RUNNING if is_start else STOPPED
        self.database.save(program)
        self.add_intent(program, action, actor)

    def add_intent(self, program: Program, verb: str, actor: str = "alice", **data: Any) -> None:
        intent = Intent(pk=next(self._ids), program_id=program.pk, verb=verb, actor=actor, data=data)
        self.database.add_intent(intent)
        self.notify()

    def remove(self, program: Program) -> None:
        self.save(program, removed_at=timezone.now(), desired_state=STOPPED)

    # --- What happens to programs ---

    def process(self, program: Program, index: int = 0) -> ManagedProcess:
        process = self.agent.registry.find((program.pk, index))
        assert process is not None
        return process

    def live(self, program: Program, index: int = 0) -> FakeProcess:
        (process,) = self.machine.live((program.pk, index))
        return process

    def exit(self, program: Program, ended: Exit, index: int = 0) -> None:
        self.live(program, index).exit(ended.code, ended.signal)

    def sample(self, program: Program, memory_bytes: int = 0, cpu_percent: float = 0.0, index: int = 0) -> None:
        self.agent.observe({(program.pk, index): Usage(cpu_percent, memory_bytes, 1)})

    def exceed_memory(self, program: Program) -> None:
        for _ in range(3):
            self.sample(program, LIMIT + 1)

    def fail_liveness(self, program: Program, index: int = 0) -> None:
        self.machine.probers[program.pk, index].report("unhealthy", "no answer", restart=True)

    def fail_launch(
        self, program: Program, message: str = "text file busy", *, is_permanent: bool = False
    ) -> None:
        self.machine.launch_faults[program.pk] = LaunchError(message, is_permanent=is_permanent)

    # --- What can be seen ---

    def row(self, program: Program, index: int = 0) -> dict[str, Any]:
        return self.database.rows[program.pk, index]

    def events(self, program: Program) -> list[str]:
        return [event["type"].removeprefix("program.") for event in self.database.events(program.pk)]

    def check(self) -> None:
        """No instance has two processes, and the rows say what the machine does."""
        assert self.machine.doubles == []
        for key, row in self.database.rows.items():
            pids = [process.pid for process in self.machine.live(key)]
            state = State(row["state"])
            # A program is `stopping` until its whole tree is gone.
            expected = [[row["pid"]]] if state in ALIVE else [[]]
            assert pids in expected or (state is State.STOPPING and pids == []), f"{key}: {row}, processes {pids}"


def key_of(program: Program, index: int = 0) -> ProcessKey:
    return (program.pk, index)
