"""A machine in memory: processes, signals, exits and launches for a supervisor that runs without a kernel."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from programs.models import Program
from programs.supervisor.journal import ProcessKey
from programs.supervisor.platform import Exit, Identity, OnExit, ProcessInfo
from programs.supervisor.ports import Launched, OnHealthChange
from programs.supervisor.process_tree import Snapshot

from .virtual_loop import VirtualTimeLoop

TICKS = 1_000_000  # of the kernel start time, a second
FIRST_PID = 10_000_000  # above every pid of the real machine
SCAN_SECONDS = 0.004


@dataclass(eq=False)
class FakeProcess:
    """`code_on` says with which code it exits on a signal instead of dying of it."""

    identity: Identity
    key: ProcessKey
    marker: str
    machine: FakeMachine
    command: str
    ignores: set[int] = field(default_factory=set)
    code_on: dict[int, int] = field(default_factory=dict)
    can_be_signalled: bool = True
    is_child: bool = True
    session: int = 0  # its own when 0
    ended: Exit | None = None
    on_exit: list[OnExit] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.identity.pid

    @property
    def is_alive(self) -> bool:
        return self.ended is None

    def info(self) -> ProcessInfo:
        session = self.session or self.pid
        return ProcessInfo(self.pid, 1, self.pid, session, self.identity.kernel_start, not self.is_alive)

    def poll(self) -> int | None:
        """Reaps it, as `subprocess.Popen.poll` does."""
        if self.ended is None:
            return None
        self.machine.table.pop(self.pid, None)
        if self.ended.signal:
            return -signal.Signals[self.ended.signal].value
        return self.ended.code

    def wait(self) -> int:
        code = self.poll()
        assert code is not None, "would wait for ever"
        return code

    def receive(self, number: int) -> None:
        if number in self.code_on:
            self.exit(code=self.code_on[number])
        elif number not in (signal.SIGCONT, *self.ignores):
            self.exit(signal=signal.Signals(number).name)

    def exit(self, code: int | None = None, signal: str | None = None) -> None:
        if not self.is_alive:
            return
        self.ended = Exit(code, signal)
        if not self.is_child:
            self.machine.table.pop(self.pid, None)  # init reaps it at once
        for notify in self.on_exit:
            self.machine.loop.call_soon(notify)


class FakeWatch:
    def __init__(self, process: FakeProcess, on_exit: OnExit) -> None:
        self._process = process
        self._on_exit = on_exit
        self._is_open = True
        process.on_exit.append(self._notify)
        if not process.is_alive:
            process.machine.loop.call_soon(self._notify)

    def _notify(self) -> None:
        if self._is_open:
            self._on_exit()

    def exit(self) -> Exit:
        return self._process.ended or Exit()

    def close(self) -> None:
        self._is_open = False


class FakeProber:
    def __init__(self, on_change: OnHealthChange) -> None:
        self.ready = False
        self.is_running = False
        self._on_change = on_change

    def start(self) -> None:
        self.is_running = True

    def stop(self) -> None:
        self.is_running = False

    def report(self, health: str, detail: str = "", *, restart: bool = False) -> None:
        assert self.is_running
        self.ready = health == "healthy"
        self._on_change(health, detail, restart)


class FakeMachine:
    """Implements the ports System, Launcher, Scanner and ProberFactory.

    Faults are set by program id: `launch_faults` fail a start, `unwatchable` programs cannot be watched,
    `exits_at_once` exit before the start is recorded, and `unprobeable` ones fail in the prober's factory.
    """

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self.loop = loop
        self.boot = 1
        self.oom_count = 0
        self.table: dict[int, FakeProcess] = {}
        self.launch_faults: dict[int, Exception] = {}
        self.unwatchable: set[int] = set()
        self.exits_at_once: dict[int, Exit] = {}
        self.unprobeable: set[int] = set()
        self.probers: dict[ProcessKey, FakeProber] = {}
        self.console: list[tuple[ProcessKey, str]] = []
        self.stop_commands: list[Sequence[str]] = []
        self.posted: list[str] = []
        self.removed_logs: list[int] = []
        self.after_launch: Callable[[], None] = lambda: None
        self.prepare: Callable[[FakeProcess], None] = lambda process: None
        self.launches = 0
        self.doubles: list[ProcessKey] = []  # instances that had two processes

    # --- System ---

    def now(self) -> float:
        return self.loop.time()

    def boot_id(self) -> str:
        return f"boot {self.boot}"

    def kernel_seconds(self, kernel_start: int) -> float:
        return kernel_start / TICKS

    def identity(self, pid: int) -> Identity | None:
        process = self.table.get(pid)
        return process.identity if process else None

    def is_running(self, identity: Identity) -> bool:
        process = self.table.get(identity.pid)
        return process is not None and process.is_alive and process.identity == identity

    def send_signal(self, identity: Identity, number: int) -> bool:
        process = self.table.get(identity.pid)
        if process is None or process.identity != identity or not process.can_be_signalled:
            return False
        if process.is_alive:
            process.receive(number)
        return True

    def kill_group(self, leader: int) -> None:
        process = self.table.get(leader)
        if process and process.is_alive and process.can_be_signalled:
            process.receive(signal.SIGKILL)

    def watch(self, identity: Identity, on_exit: OnExit) -> FakeWatch:
        process = self.table.get(identity.pid)
        if process is None or process.identity != identity:
            raise ProcessLookupError(identity.pid)
        if process.key[0] in self.unwatchable:
            raise OSError("too many open files")
        return FakeWatch(process, on_exit)

    # --- Launcher ---

    def launch(self, program: Program, index: int) -> Launched:
        key = (program.pk, index)
        if self.live(key):
            self.doubles.append(key)  # an assertion here would be caught by the agent as a fault of the program
        if program.pk in self.launch_faults:
            raise self.launch_faults[program.pk]
        process = self.spawn(key, f"run/{program.pk}/{index}/{self.launches}", program.command)
        self.prepare(process)
        if ended := self.exits_at_once.get(program.pk):
            process.exit(ended.code, ended.signal)
        self.after_launch()
        return Launched(process, process.marker)

    def spawn(self, key: ProcessKey, marker: str, command: str = "") -> FakeProcess:
        self.launches += 1
        identity = Identity(FIRST_PID + self.launches, int(self.now() * TICKS), self.boot_id())
        process = FakeProcess(identity, key, marker, self, command)
        self.table[process.pid] = process
        return process

    async def run_stop_command(self, program: Program, index: int, argv: Sequence[str], pid: int) -> None:
        self.stop_commands.append(argv)
        if argv[0] == "fail":
            raise OSError("no such command")

    def write_console(self, program_id: int, index: int, text: str) -> None:
        self.console.append(((program_id, index), text))

    def remove_console(self, program_id: int, index: int) -> None:
        self.console = [line for line in self.console if line[0] != (program_id, index)]

    def remove_files(self, program_id: int) -> None:
        self.removed_logs.append(program_id)

    def log_end(self, program_id: int, index: int) -> int:
        return 4096

    def parse_marker(self, marker: str) -> ProcessKey | None:
        found = re.fullmatch(r"run/(\d+)/(\d+)/\w+", marker)
        return (int(found[1]), int(found[2])) if found else None

    # --- Scanner and probes ---

    async def scan(self) -> Snapshot:
        await asyncio.sleep(SCAN_SECONDS)
        table = {pid: process.info() for pid, process in self.table.items()}
        markers = {pid: process.marker for pid, process in self.table.items() if process.marker}
        return Snapshot(table, markers, self.boot_id())

    def make_prober(self, program: Program, index: int, log_start: int, on_change: OnHealthChange) -> FakeProber:
        if program.pk in self.unprobeable:
            raise ValueError("a secret cannot be read")
        prober = self.probers[program.pk, index] = FakeProber(on_change)
        return prober

    async def http_post(self, url: str, seconds: float) -> None:
        self.posted.append(url)

    # --- For tests ---

    def live(self, key: ProcessKey | None = None) -> list[FakeProcess]:
        return [p for p in self.table.values() if p.is_alive and (key is None or p.key == key)]

    def orphan_all(self) -> None:
        """The agent died: its children are init's, and nobody watches them."""
        for process in list(self.table.values()):
            process.is_child = False
            process.on_exit.clear()
            if not process.is_alive:
                self.table.pop(process.pid)
        self.probers.clear()

    def reboot(self) -> None:
        self.table.clear()
        self.boot += 1

    def settings(self) -> dict[str, Any]:
        """The fields of a `Context` that this machine stands for."""
        return {
            "system": self,
            "launcher": self,
            "scanner": self,
            "timers": self.loop,
            "make_prober": self.make_prober,
            "http_post": self.http_post,
        }
