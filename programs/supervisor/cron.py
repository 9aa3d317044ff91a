"""When programs with a `restart_cron` are due, by the wall clock of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cronsim import CronSim


@dataclass
class Timetable:
    """Fires once for each moment that comes; moments slept through or jumped over fire once together."""

    _crons: dict[int, str] = field(default_factory=dict)
    _next: dict[int, datetime] = field(default_factory=dict)
    _looked_at: datetime | None = None

    def learn(self, key: int, cron: str) -> None:
        """A new or changed expression; an empty one forgets the key."""
        if self._crons.get(key, "") != cron:
            self._next.pop(key, None)
            self._crons.pop(key, None)
            if cron:
                self._crons[key] = cron

    def due(self, now: datetime) -> Iterator[int]:
        """The keys whose moment has come. `now` is on the wall clock; a clock set back moves the moments too."""
        at = now.astimezone(UTC)
        if self._looked_at and at < self._looked_at - timedelta(seconds=1):
            self._next.clear()
        self._looked_at = at
        for key, cron in self._crons.items():
            if key not in self._next:
                self._next[key] = _after(cron, now)
            elif self._next[key] <= at:
                self._next[key] = _after(cron, now)
                yield key


def _after(cron: str, now: datetime) -> datetime:
    """In UTC: two moments of one time zone are compared by the face of the clock, and that goes back in autumn."""
    return next(CronSim(cron, now)).astimezone(UTC)
