"""Derives health, readiness and restarts of a process from probe results. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .base import Probe, ProbeResult

HEALTHY = "healthy"
UNHEALTHY = "unhealthy"
UNKNOWN = ""


@dataclass
class _Record:
    health: str = UNKNOWN
    failures: int = 0  # in a row
    has_succeeded: bool = False
    detail: str = ""


@dataclass(frozen=True)
class HealthUpdate:
    health: str
    detail: str
    restart: bool
    changed: bool


class ProbeState:
    """The combined state of the probes of one process.

    Unhealthy when one probe failed `failures` times in a row, healthy when the last result of every probe was
    good, otherwise unknown. Ignores failures before `grace_until` (same clock as `now`).
    """

    def __init__(self, probes: Sequence[Probe], *, grace_until: float = 0.0) -> None:
        self._records = [_Record() for _ in probes]
        self._probes = list(probes)
        self._grace_until = grace_until
        self._reported = (self.health, self.ready)

    @property
    def health(self) -> str:
        found = {record.health for record in self._records}
        if UNHEALTHY in found:
            return UNHEALTHY
        return HEALTHY if found == {HEALTHY} else UNKNOWN

    @property
    def ready(self) -> bool:
        """Whether every readiness probe has succeeded once. True without readiness probes."""
        pairs = zip(self._probes, self._records, strict=True)
        return all(record.has_succeeded for probe, record in pairs if probe.purpose == "readiness")

    def record(self, number: int, result: ProbeResult, now: float) -> HealthUpdate:
        probe, record = self._probes[number], self._records[number]
        restart = False
        if result.ok:
            record.failures, record.health, record.has_succeeded = 0, HEALTHY, True
        elif now >= self._grace_until:
            record.failures += 1
            if record.failures >= probe.failures:
                record.health = UNHEALTHY
            # Request it again after as many further failures, in case the first restart did not happen.
            restart = probe.purpose == "liveness" and record.failures % probe.failures == 0
        record.detail = f"{probe.label}: {result.detail}"
        before, self._reported = self._reported, (self.health, self.ready)
        return HealthUpdate(self.health, self._detail(record), restart, before != self._reported)

    def _detail(self, latest: _Record) -> str:
        return next((r.detail for r in self._records if r.health == UNHEALTHY), latest.detail)
