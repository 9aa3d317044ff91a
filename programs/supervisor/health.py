"""The health of one process: its probes run while it runs, and a failed liveness probe restarts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from programs.probes import Probe, ProbeContext, Prober

from . import launch

if TYPE_CHECKING:
    from .process import ManagedProcess

GOOD = ("", "healthy")


class Health:
    """`healthy`, `unhealthy`, or empty while nothing is known (or no probe is defined)."""

    def __init__(self, process: ManagedProcess) -> None:
        self.state = ""
        self._process = process
        self._prober: Prober | None = None

    @property
    def is_good(self) -> bool:
        return self.state == "healthy" if self._process.program.probes else True

    def begin(self) -> None:
        """Starts probing a process that has just become `running`."""
        self.end()
        program, index = self._process.program, self._process.index
        if not program.probes:
            return
        probes = [Probe.parse(fields, index) for fields in program.probes]
        self._prober = Prober(probes, self._context(), self._changed)
        self._prober.start()

    def _context(self) -> ProbeContext:
        return launch.probe_context(self._process.program, self._process.index)

    def end(self) -> None:
        self.state = ""
        if self._prober:
            self._prober.stop()
            self._prober = None

    def _changed(self, health: str, detail: str, restart: bool) -> None:
        if health and health != self.state:
            self.state = health
            self._process.health_changed(health, detail)
        if restart:
            self._process.restart(f"unhealthy: {detail}")
