"""From outcomes to a verdict: healthy or not, ready or not, restart or not. Pure; the time is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .base import Outcome, Probe

HEALTHY = "healthy"
UNHEALTHY = "unhealthy"
NOT_YET_KNOWN = ""


@dataclass
class _Record:
    health: str = NOT_YET_KNOWN
    failures: int = 0  # in a row
    has_succeeded: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Verdict:
    health: str
    detail: str
    restart: bool
    changed: bool


class ProbeState:
    """The probes of one process taken together.

    Unhealthy as soon as one of them failed `failures` times in a row, healthy once all of them succeeded last,
    until then not yet known. Failures before `grace_until` (the same clock as `now`) do not count.
    """

    def __init__(self, probes: Sequence[Probe], *, grace_until: float = 0.0) -> None:
        self._records = [_Record() for _ in probes]
        self._probes = list(probes)
        self._grace_until = grace_until
        self._shown = (self.health, self.ready)

    @property
    def health(self) -> str:
        found = {record.health for record in self._records}
        if UNHEALTHY in found:
            return UNHEALTHY
        return HEALTHY if found == {HEALTHY} else NOT_YET_KNOWN

    @property
    def ready(self) -> bool:
        """Whether every readiness probe succeeded once; without such probes at once."""
        pairs = zip(self._probes, self._records, strict=True)
        return all(record.has_succeeded for probe, record in pairs if probe.purpose == "readiness")

    def record(self, number: int, outcome: Outcome, now: float) -> Verdict:
        """Takes in an outcome of the probe at place `number`."""
        probe, record = self._probes[number], self._records[number]
        restart = False
        if outcome.ok:
            record.failures, record.health, record.has_succeeded = 0, HEALTHY, True
        elif now >= self._grace_until:
            record.failures += 1
            if record.failures >= probe.failures:
                record.health = UNHEALTHY
            # Asked for again after as many further failures, in case the first time was in vain.
            restart = probe.purpose == "liveness" and record.failures % probe.failures == 0
        record.detail = f"{probe.label}: {outcome.detail}"
        before, self._shown = self._shown, (self.health, self.ready)
        return Verdict(self.health, self._detail(record), restart, before != self._shown)

    def _detail(self, latest: _Record) -> str:
        """What the first unhealthy probe says, else the latest outcome."""
        return next((r.detail for r in self._records if r.health == UNHEALTHY), latest.detail)
