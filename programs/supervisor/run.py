"""One life of a process, from its start or adoption to its end, and what its tree uses."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from programs.models import Program

from . import launch, platform
from .platform import Exit, Identity, OnExit, Watch

NOT_RUNNING: dict[str, Any] = {"pid": None, "cpu_percent": 0.0, "memory_bytes": 0, "threads": 0, "health": ""}


class Usage(NamedTuple):
    """What a process tree uses: percent of one core, resident bytes, threads."""

    cpu_percent: float = 0.0
    memory_bytes: int = 0
    threads: int = 0


@dataclass
class Run:
    """One life of the process; `popen` is None for one that was adopted, somebody else's child."""

    who: Identity
    marker: str
    popen: subprocess.Popen[bytes] | None = None
    log_start: int = 0  # where its own output begins, as a logical offset
    _watch: Watch | None = field(default=None, init=False, repr=False)

    @classmethod
    def spawn(cls, program: Program, index: int, on_exit: OnExit) -> Run:
        """Starts the process and watches it. Raises LaunchError."""
        # Costs a tenth of a millisecond, so only programs with probes pay for it.
        log_start = (launch.log_end(program.pk, index) or 0) if program.probes else 0
        launched = launch.launch(program, index)
        try:
            who = platform.identity(launched.popen.pid)
            if who is None:  # cannot be: an unreaped child stays in the table
                raise OSError("it vanished while it was started")
            run = cls(who, launched.marker, launched.popen, log_start)
            run.watch(on_exit)
        except OSError as error:  # out of descriptors, say: what cannot be watched must not run
            platform.kill_group(launched.popen.pid)
            launched.popen.wait()
            raise launch.LaunchError(f"cannot watch the process: {error}", is_permanent=False) from error
        return run

    @property
    def uptime(self) -> float:
        return max(0.0, platform.now() - platform.kernel_seconds(self.who.kernel_start))

    def columns(self) -> dict[str, Any]:
        """What the row of its process says from its start on."""
        started = datetime.now(UTC) - timedelta(seconds=self.uptime)
        return {
            "pid": self.who.pid,
            "kernel_start": self.who.kernel_start,
            "boot_id": self.who.boot_id,
            "marker": self.marker,
            "started_at": started.isoformat(),
            "next_start_at": None,
            "exit_code": None,
            "exit_signal": None,
        }

    def watch(self, on_exit: OnExit) -> None:
        """Has `on_exit` called once when it ends. Raises ProcessLookupError when it has ended already."""
        self._watch = platform.watch(self.who, on_exit)

    def unwatch(self) -> None:
        if self._watch:
            self._watch.close()

    def reap(self, *, kill_group: bool) -> Exit:
        """How it ended, as soon as it has; `kill_group` ends what a child of ours left in its group."""
        if self.popen and kill_group:
            # While our child is unreaped its number is taken: the group is certainly its own.
            platform.kill_group(self.who.pid)
        code = self.popen.poll() if self.popen else None
        if code is None:
            # Not our child, or one that a debugger holds: it is ours to reap when that lets go, not before.
            end = self._watch.exit() if self._watch else Exit()
        else:
            end = Exit(code=code) if code >= 0 else Exit(signal=platform.signal_name(-code))
        self.unwatch()
        return end


def columns_after(end: Exit) -> dict[str, Any]:
    """What the row of its process says once a run has ended so."""
    return {**NOT_RUNNING, "exit_code": end.code, "exit_signal": end.signal}
