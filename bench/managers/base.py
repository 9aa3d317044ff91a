"""The interface of a process manager under test, so that one run measures all of them in the same way."""

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
    """One program to run. None for `log_max_bytes` and `log_backups` keeps the manager's own defaults."""

    name: str
    argv: tuple[str, ...]
    log_max_bytes: int | None = None
    log_backups: int | None = None


@dataclass(frozen=True)
class StatusTiming:
    """Milliseconds of each call, and the number of programs in the response."""

    milliseconds: list[float]
    programs: int


class ProcessManager(ABC):
    """One manager with its files in `directory`. Methods that wait have a time limit and raise BenchError."""

    title: ClassVar[str]
    version: ClassVar[str] = ""
    status_has_usage: ClassVar[bool] = False
    """Whether the call timed by `time_status` also returns CPU and memory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def install(cls) -> None:
        """Install the manager into an environment of its own, if it needs one."""
        return

    @abstractmethod
    def launch(self, programs: Sequence[Program]) -> None:
        """Start the manager and define the programs. When it returns, none of them is running."""

    @abstractmethod
    def start_all(self) -> None:
        """Send the single command that starts every program."""

    @abstractmethod
    def root_process(self) -> psutil.Process:
        """The root of the manager's process tree."""

    def time_status(self, times: int) -> StatusTiming | None:
        """Time the API call that returns the state of all programs; None if there is no API."""
        return None

    def time_usage(self, times: int) -> StatusTiming | None:
        """Time a separate API call that returns CPU and memory; None if there is none."""
        return None

    def supervising(self, processes: Sequence[psutil.Process]) -> list[psutil.Process]:
        """The manager's processes that supervise: all of them, unless it also runs a web server."""
        return list(processes)

    def logs(self, program: Program) -> list[Path]:
        """The files with the program's captured output, oldest first."""
        return rotated_files(self.directory / f"{program.name}.log")


def rotated_files(live: Path) -> list[Path]:
    """`name.log` and its `name.log.<number>` backups, oldest (highest number) first."""
    backups = sorted(live.parent.glob(f"{live.name}.*"), key=lambda path: int(path.suffix[1:]), reverse=True)
    return [*backups, live]


def time_calls(call: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each of `times` calls, after one warm-up call; fewer if they take longer than 10 s."""
    call()
    milliseconds: list[float] = []
    while len(milliseconds) < times and sum(milliseconds) < STATUS_SECONDS * 1000:
        began = time.perf_counter()
        call()
        milliseconds.append((time.perf_counter() - began) * 1000)
    return milliseconds
