"""One run of a process, from its start or adoption to its exit, and the resources its tree uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from programs.models import Program

from . import platform
from .platform import Exit, Identity, Watch
from .ports import Child, Context, LaunchError, System

WATCH_RETRY_SECONDS = 1.0
NOT_RUNNING: dict[str, Any] = {"pid": None, "cpu_percent": 0.0, "memory_bytes": 0, "threads": 0, "health": ""}


class Usage(NamedTuple):
    """What a process tree uses: percent of one core, resident bytes, threads."""

    cpu_percent: float = 0.0
    memory_bytes: int = 0
    threads: int = 0


@dataclass
class Run:
    """`child` is None for an adopted process, which is another process's child."""

    identity: Identity
    marker: str
    system: System
    child: Child | None = None
    log_start: int = 0  # where its own output begins, as a logical offset
    _watch: Watch | None = field(default=None, init=False, repr=False)

    @classmethod
    def spawn(cls, program: Program, index: int, on_exit: Callable[[Run], None], context: Context) -> Run:
        """Starts the process and watches it. Raises LaunchError."""
        # Costs a tenth of a millisecond, so only programs with probes pay for it.
        log_start = (context.launcher.log_end(program.pk, index) or 0) if program.probes else 0
        launched = context.launcher.launch(program, index)
        system, child = context.system, launched.child
        try:
            identity = system.identity(child.pid)
            if identity is None:  # cannot be: an unreaped child stays in the process table
                raise OSError("it vanished while it was started")
            run = cls(identity, launched.marker, system, child, log_start)
            run.watch(on_exit)
        except OSError as error:  # out of descriptors, for example: a process that nobody watches must not run
            system.kill_group(child.pid)
            child.wait()
            raise LaunchError(f"cannot watch the process: {error}", is_permanent=False) from error
        return run

    @property
    def uptime(self) -> float:
        return max(0.0, self.system.now() - self.system.kernel_seconds(self.identity.kernel_start))

    def columns(self, now: datetime) -> dict[str, Any]:
        """Columns of the process's row while it runs."""
        return {
            "pid": self.identity.pid,
            "kernel_start": self.identity.kernel_start,
            "boot_id": self.identity.boot_id,
            "marker": self.marker,
            "started_at": (now - timedelta(seconds=self.uptime)).isoformat(),
            "next_start_at": None,
            "exit_code": None,
            "exit_signal": None,
        }

    def watch(self, on_exit: Callable[[Run], None]) -> None:
        """Has `on_exit` called once when it exits. Raises ProcessLookupError when it already has."""
        self._watch = self.system.watch(self.identity, lambda: on_exit(self))

    async def watch_later(self, on_exit: Callable[[Run], None]) -> None:
        """Retries until there is a descriptor to watch with."""
        while True:
            await asyncio.sleep(WATCH_RETRY_SECONDS)
            try:
                self.watch(on_exit)
            except ProcessLookupError:
                on_exit(self)
            except OSError:
                continue
            return

    def unwatch(self) -> None:
        if self._watch:
            self._watch.close()

    def reap(self, *, kill_group: bool) -> Exit:
        """The exit status, after `on_exit`; `kill_group` also kills what our child left in its process group."""
        if self.child and kill_group:
            # While our child is unreaped its pid is taken, so the group can only be its own.
            self.system.kill_group(self.identity.pid)
        code = self.child.poll() if self.child else None
        if code is None:
            # Not our child, or a debugger holds it: then it can only be reaped once the debugger lets it go.
            ended = self._watch.exit() if self._watch else Exit()
        else:
            ended = Exit(code=code) if code >= 0 else Exit(signal=platform.signal_name(-code))
        self.unwatch()
        return ended


def columns_after_exit(ended: Exit) -> dict[str, Any]:
    return {**NOT_RUNNING, "exit_code": ended.code, "exit_signal": ended.signal}
