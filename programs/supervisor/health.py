"""The health of one process: probes it while it runs, and restarts it when a liveness probe fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from core.secrets import SecretUnreadableError
from programs import probes
from programs.definition.environment import secret_mask
from programs.logs.lines import chunks_from, line_text
from programs.logs.paths import LogFile
from programs.logs.reader import Reader
from programs.models import Program

from . import launch
from .ports import LaunchError, OnHealthChange, Prober, ProberFactory


class ProbedProcess(Protocol):
    """What `Health` needs of a ManagedProcess."""

    program: Program
    index: int

    def health_changed(self, health: str, detail: str) -> None: ...
    def readiness_changed(self) -> None: ...
    def restart(self, why: str, *, is_failure: bool = False) -> None: ...


class NewLines:
    """The lines of a log from a logical offset on; each call continues where the last one stopped."""

    def __init__(self, log: LogFile, start: int) -> None:
        self._log = log
        self._position = start

    def __call__(self) -> Iterator[str]:
        with Reader(self._log) as reader:
            for chunk in chunks_from(reader, self._position):
                self._position = chunk.end
                yield from (line_text(raw) for _, raw in chunk.lines())


def make_prober(program: Program, index: int, log_start: int, on_change: OnHealthChange) -> Prober:
    """The ProberFactory of production."""
    lines = NewLines(launch.log_file(program.pk, index), log_start)
    arguments = launch.probe_arguments(program, index)
    context = probes.ProbeContext(new_lines=lines, mask=secret_mask(program), **arguments)
    return probes.Prober([probes.Probe.parse(fields, index) for fields in program.probes], context, on_change)


class Health:
    """`state` is healthy, unhealthy, or empty before the first result and without probes."""

    def __init__(self, process: ProbedProcess, make_prober: ProberFactory) -> None:
        self.state = ""
        self._process = process
        self._make_prober = make_prober
        self._prober: Prober | None = None

    @property
    def is_ready(self) -> bool:
        """All its probes have succeeded; true without probes."""
        if self._prober is None:
            return not self._process.program.probes
        return self._prober.ready and self.state == "healthy"

    def start(self, log_start: int) -> None:
        """`log_start` is the logical offset at which the process's own output begins."""
        self.stop()
        program, index = self._process.program, self._process.index
        if not program.probes:
            return
        try:
            self._prober = self._make_prober(program, index, log_start, self._changed)
        except (LaunchError, SecretUnreadableError, ValueError) as error:
            self._changed("unhealthy", f"cannot be probed: {error}", False)
            return
        self._prober.start()

    def stop(self) -> None:
        self.state = ""
        if self._prober:
            self._prober.stop()
            self._prober = None

    def _changed(self, health: str, detail: str, restart: bool) -> None:
        if health and health != self.state:
            self.state = health
            self._process.health_changed(health, detail)
        else:
            self._process.readiness_changed()
        if restart:
            self._process.restart(f"unhealthy: {detail}", is_failure=True)
