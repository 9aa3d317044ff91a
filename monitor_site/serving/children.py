"""The child processes of `serve`: how to start and stop each of them."""

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


def no_cleanup() -> None:
    """For children whose process group contains everything they start."""


@dataclass(frozen=True)
class ChildSpec:
    """A process to keep running. It gets `stop_seconds` to stop before it is killed.

    `owns_group`: kill its whole process group with it. Not the agent's, to be sure that no program is killed,
    although programs run in sessions of their own. `clean_up` kills what a killed child may have left outside
    its group.
    """

    name: str
    argv: tuple[str, ...]
    stop_seconds: float
    owns_group: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    clean_up: Callable[[], object] = no_cleanup


def command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(BASE_DIR / "manage.py"), *arguments)


def inherited_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}


class Child:
    """A ChildSpec and its present process, if any. Times are of the monotonic clock."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.backoff = Backoff()
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.start_at = 0.0  # when to start it, while there is no process

    def start(self, now: float) -> None:
        environment = {
            **inherited_environment(),
            "PYTHONUNBUFFERED": "1",
            **self.spec.environment,
            parent_watch.VARIABLE: str(self.spec.stop_seconds),
        }
        self.started_at = now
        self.process = subprocess.Popen(
            self.spec.argv, stdin=subprocess.PIPE, env=environment, **platform.isolation()
        )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def request_stop(self) -> None:
        if self.process is not None and self.is_running:
            platform.request_stop(self.process)

    def kill(self) -> None:
        if self.process is None:
            return
        if self.spec.owns_group:
            platform.kill_group(self.process.pid)
        self.process.kill()
        self.process.wait()
        self.spec.clean_up()

    def discard_process(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None


def describe_exit(code: int) -> str:
    """`exit code 3` or `signal SIGKILL`, from Popen's return code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
