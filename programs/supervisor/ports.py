"""Everything the supervisor uses outside its own logic: kernel, clock, timers, launching, probes, journal.

`wiring` builds the real `Context`. Tests build one that lives in memory and runs in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from programs.models import Process, Program

from .desired_state import DesiredState
from .journal import Entry, ProcessKey
from .oom import OomDetector
from .platform import Identity, OnExit, Watch
from .process_tree import Snapshot

OnHealthChange = Callable[[str, str, bool], None]  # health, detail, whether a restart is due


class LaunchError(Exception):
    """The program cannot be started; the text says why. `is_permanent`: a retry would not help."""

    def __init__(self, message: str, *, is_permanent: bool = True) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


class Child(Protocol):
    """A process that the agent started, as `subprocess.Popen` offers it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self) -> int: ...


@dataclass(frozen=True)
class Launched:
    """A process that was just started, with the marker its whole tree carries."""

    child: Child
    marker: str


class System(Protocol):
    """The functions of `platform` that the state machine calls."""

    def now(self) -> float: ...
    def boot_id(self) -> str: ...
    def kernel_seconds(self, kernel_start: int, /) -> float: ...
    def identity(self, pid: int, /) -> Identity | None: ...
    def is_running(self, identity: Identity, /) -> bool: ...
    def send_signal(self, identity: Identity, number: int, /) -> bool: ...
    def kill_group(self, leader: int, /) -> None: ...
    def watch(self, identity: Identity, on_exit: OnExit, /) -> Watch: ...


class Launcher(Protocol):
    """The functions of `launch` that start processes or touch a program's files."""

    def launch(self, program: Program, index: int, /) -> Launched: ...
    async def run_stop_command(self, program: Program, index: int, argv: Sequence[str], pid: int, /) -> None: ...
    def write_console(self, program_id: int, index: int, text: str, /) -> None: ...
    def remove_console(self, program_id: int, index: int, /) -> None: ...
    def log_end(self, program_id: int, index: int, /) -> int | None: ...
    def remove_files(self, program_id: int, /) -> None: ...
    def parse_marker(self, marker: str, /) -> ProcessKey | None: ...


class Scanner(Protocol):
    async def scan(self) -> Snapshot: ...


class Timer(Protocol):
    def cancel(self) -> None: ...


class Timers(Protocol):
    """The part of an asyncio event loop that schedules work."""

    def call_soon(self, callback: Callable[[], object], /) -> Timer: ...
    def call_later(self, seconds: float, callback: Callable[[], object], /) -> Timer: ...
    def create_task(self, work: Coroutine[Any, Any, Any], /) -> asyncio.Task[Any]: ...


class Prober(Protocol):
    @property
    def ready(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> object: ...


class ProberFactory(Protocol):
    """Raises LaunchError, SecretUnreadableError or ValueError for a program that cannot be probed."""

    def __call__(self, program: Program, index: int, log_start: int, on_change: OnHealthChange, /) -> Prober: ...


class Journal(Protocol):
    """The methods of `journal.Journal`."""

    @property
    def pending(self) -> int: ...
    @property
    def is_writing(self) -> bool: ...
    def start(self) -> int: ...
    def put(self, entry: Entry, /) -> None: ...
    def put_latest(self, key: ProcessKey, values: dict[str, Any], /) -> None: ...
    def flush_latest(self) -> None: ...
    def put_batch(self, write: Callable[[], None], /) -> None: ...
    def put_last(self, write: Callable[[], None], /) -> None: ...
    def heartbeat(self, now: datetime, /) -> None: ...
    def close(self, timeout: float, stopped_at: datetime | None = None) -> bool: ...


class Database(Protocol):
    """What the agent reads. Both raise django.db.Error while the database is unavailable."""

    async def desired_state(self, since: int, handled: Collection[int] = ()) -> DesiredState: ...
    async def process_rows(self) -> list[Process]: ...
    def close(self) -> None: ...


# Yields an event that is set whenever the desired state may have changed.
WakeUps = Callable[[], AbstractAsyncContextManager[asyncio.Event]]
HttpPost = Callable[[str, float], Awaitable[object]]  # URL, seconds until it gives up


@dataclass(frozen=True)
class Context:
    """Shared by all processes of one agent. `random` gives numbers from 0 to 1, `wall_clock` an aware datetime."""

    system: System
    launcher: Launcher
    scanner: Scanner
    timers: Timers
    journal: Journal
    out_of_memory: OomDetector
    make_prober: ProberFactory
    http_post: HttpPost
    wall_clock: Callable[[], datetime]
    random: Callable[[], float]
