"""Types that `linux` and `portable` share. Both define the same functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

MARKER = "PROGRAM_MONITOR"


class Identity(NamedTuple):
    """Unlike a pid, it is never reused: boot and start time are part of it."""

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
    """Exit code or signal name; both None when the exit was not seen."""

    code: int | None = None
    signal: str | None = None


class Watch(Protocol):
    """Calls back once when a process exits."""

    def exit(self) -> Exit:
        """The exit of a process that is not our child; unknown where the system does not report it."""

    def close(self) -> None: ...


OnExit = Callable[[], None]
