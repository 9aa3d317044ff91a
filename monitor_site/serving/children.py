"""The parts `serve` starts: what each is, and the running process of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from monitor_site.environment import BASE_DIR

from . import parent_watch, platform
from .backoff import Backoff

NOT_INHERITED = {"MONITOR_APPS", "DJANGO_SUPERUSER_PASSWORD"}


def nothing_left() -> None:
    """For parts whose process group holds all they started."""


@dataclass(frozen=True)
class Part:
    """One program to keep running. `stop_seconds` is its share of the time a stop may take.

    `owns_group` says whether its whole process group ends with it when it is late: the agent's does not matter,
    its programs live in sessions of their own, but nothing of theirs shall depend on that. `sweep` ends whatever
    a killed part may have left outside its group.
    """

    name: str
    argv: tuple[str, ...]
    stop_seconds: float
    owns_group: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    sweep: Callable[[], object] = nothing_left


def command(*arguments: str) -> tuple[str, ...]:
    """`manage.py` with these arguments under the same interpreter."""
    return (sys.executable, str(BASE_DIR / "manage.py"), *arguments)


def inherited_environment() -> dict[str, str]:
    """What a part gets of our own environment: all but the choice of app list and the first password."""
    return {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}


class RunningPart:
    """A part and its present process, if any. Times are of the monotonic clock."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.backoff = Backoff()
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.start_at = 0.0  # when to start it, while there is no process

    def start(self, now: float) -> None:
        environment = {
            **inherited_environment(),
            "PYTHONUNBUFFERED": "1",
            **self.part.environment,
            parent_watch.VARIABLE: str(self.part.stop_seconds),
        }
        self.started_at = now
        self.process = subprocess.Popen(
            self.part.argv, stdin=subprocess.PIPE, env=environment, **platform.isolation()
        )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self) -> None:
        if self.process is not None and self.is_running:
            platform.ask_to_stop(self.process)

    def kill(self) -> None:
        """Ends it now. Without an owned group only the main process dies, never what it watches over."""
        if self.process is None:
            return
        if self.part.owns_group:
            platform.kill_group(self.process.pid)
        self.process.kill()
        self.process.wait()
        self.part.sweep()

    def forget_process(self) -> None:
        """Frees the pipe of a process that has ended."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None


def how_it_ended(code: int) -> str:
    """`exit code 3` or `signal SIGKILL`, from Popen's return code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
