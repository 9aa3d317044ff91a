"""What every platform offers the supervisor. The functions are in `linux` and `portable`, of the same names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

MARKER = "PROGRAM_MONITOR"


class Identity(NamedTuple):
    """One process for ever: a pid comes back, but never with the same start time in the same boot."""

    pid: int
    kernel_start: int
    boot_id: str


class ProcessInfo(NamedTuple):
    pid: int
    ppid: int
    group: int
    session: int
    kernel_start: int
    is_zombie: bool


@dataclass(frozen=True)
class Exit:
    """How a process ended; both None when nobody could see it."""

    code: int | None = None
    signal: str | None = None


class Watch(Protocol):
    """Calls back once when a process ends."""

    def exit(self) -> Exit:
        """How it ended, for a process that is not our child; unknown where the system does not tell."""

    def close(self) -> None: ...


OnExit = Callable[[], None]
