"""What each contender offers, so that one run measures them all alike."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

STATUS_SECONDS = 10


@dataclass(frozen=True)
class Program:
    """One program to run. `log_max_bytes` and `log_backups` of None leave the manager's own defaults."""

    name: str
    argv: tuple[str, ...]
    log_max_bytes: int | None = None
    log_backups: int | None = None


@dataclass(frozen=True)
class StatusTiming:
    """Milliseconds of each call, and how many programs the answers held."""

    milliseconds: list[float]
    programs: int


class Contender(ABC):
    """One manager with its files in `directory`. Every method that waits is bounded and raises BenchError."""

    title: ClassVar[str]
    version: ClassVar[str] = ""
    status_has_usage: ClassVar[bool] = False
    """Whether the call that `time_status` times gives CPU and memory too."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def install(cls) -> None:
        """Make the manager available in its own environment; nothing to do for those that need none."""
        return

    @abstractmethod
    def launch(self, programs: Sequence[Program]) -> None:
        """Start the manager and define the programs. On return they are known to it and none is running."""

    @abstractmethod
    def start_all(self) -> None:
        """Give the one command that starts every program."""

    @abstractmethod
    def root(self) -> psutil.Process:
        """The process whose tree is the manager."""

    def time_status(self, times: int) -> StatusTiming | None:
        """Time the API's call for the state of all programs; None where there is no API."""
        return None

    def time_usage(self, times: int) -> StatusTiming | None:
        """Time another call that also gives CPU and memory; None where the API has none."""
        return None

    def core(self, processes: Sequence[psutil.Process]) -> list[psutil.Process]:
        """Those of the manager's processes that supervise; all of them unless it also runs a web side."""
        return list(processes)

    def logs(self, program: Program) -> list[Path]:
        """The program's captured output, oldest first."""
        return rotated(self.directory / f"{program.name}.log")


def rotated(live: Path) -> list[Path]:
    """`name.log` and its `name.log.<number>` backups, oldest (highest number) first."""
    backups = sorted(live.parent.glob(f"{live.name}.*"), key=lambda path: int(path.suffix[1:]), reverse=True)
    return [*backups, live]


def time_calls(call: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each of that many calls, after one that is not counted; fewer if they take over 10 s."""
    call()
    milliseconds: list[float] = []
    while len(milliseconds) < times and sum(milliseconds) < STATUS_SECONDS * 1000:
        began = time.perf_counter()
        call()
        milliseconds.append((time.perf_counter() - began) * 1000)
    return milliseconds
