"""The health of one process: its probes run while it runs, and a failed liveness probe restarts it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.secrets import SecretUnreadableError
from programs import definition
from programs.logs.lines import chunks_from, line_text
from programs.logs.paths import LogFile
from programs.logs.reader import Reader
from programs.probes import Probe, ProbeContext, Prober

from . import launch

if TYPE_CHECKING:
    from .process import ManagedProcess


class NewLines:
    """The lines of a log from a logical offset on; each call goes on where the last one ended."""

    def __init__(self, log: LogFile, start: int) -> None:
        self._log = log
        self._position = start

    def __call__(self) -> Iterator[str]:
        with Reader(self._log) as reader:
            for chunk in chunks_from(reader, self._position):
                self._position = chunk.end
                yield from (line_text(raw) for _, raw in chunk.lines())


class Health:
    """`healthy`, `unhealthy`, or empty while nothing is known (or no probe is defined)."""

    def __init__(self, process: ManagedProcess) -> None:
        self.state = ""
        self._process = process
        self._prober: Prober | None = None

    @property
    def is_good(self) -> bool:
        """All its probes have succeeded; true without probes."""
        if self._prober is None:
            return not self._process.program.probes
        return self._prober.ready and self.state == "healthy"

    def begin(self, log_start: int) -> None:
        """Starts probing a process that is `running`; `log_start` is where its own output begins."""
        self.end()
        program, index = self._process.program, self._process.index
        if not program.probes:
            return
        try:
            surroundings = launch.probe_surroundings(program, index)
            probes = [Probe.parse(fields, index) for fields in program.probes]
        except (launch.LaunchError, SecretUnreadableError, ValueError) as error:
            self._changed("unhealthy", f"cannot be probed: {error}", False)
            return
        lines = NewLines(launch.log_file(program.pk, index), log_start)
        context = ProbeContext(new_lines=lines, mask=definition.secret_mask(program), **surroundings)
        self._prober = Prober(probes, context, self._changed)
        self._prober.start()

    def end(self) -> None:
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
