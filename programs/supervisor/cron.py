"""When programs with a `restart_cron` are due, by the local time of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from cronsim import CronSim, CronSimError

log = structlog.get_logger(__name__)
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class CronSchedule:
    """Fires once at each time of an expression; times slept through or jumped over fire once together."""

    _expressions: dict[int, str] = field(default_factory=dict)
    _next: dict[int, datetime] = field(default_factory=dict)
    _checked_at: datetime | None = None

    def set(self, program_id: int, expression: str) -> None:
        """An empty expression removes the program."""
        if self._expressions.get(program_id, "") != expression:
            self._next.pop(program_id, None)
            self._expressions.pop(program_id, None)
            if expression:
                self._expressions[program_id] = expression

    def due(self, now: datetime) -> Iterator[int]:
        """The programs to restart; `now` is local time."""
        at = now.astimezone(UTC)
        # More than a second back is a clock that was set, and not one that NTP adjusts.
        if self._checked_at and at < self._checked_at - timedelta(seconds=1):
            self._next.clear()
        self._checked_at = at
        for program_id, expression in self._expressions.items():
            if program_id not in self._next:
                self._next[program_id] = _next_time(expression, now)
            elif self._next[program_id] <= at:
                self._next[program_id] = _next_time(expression, now)
                yield program_id


def _next_time(expression: str, now: datetime) -> datetime:
    try:
        # In UTC, because Python compares two times of one zone by their wall clock, which goes back in autumn.
        return next(CronSim(expression, now)).astimezone(UTC)
    except (CronSimError, StopIteration):  # stored before a validation that now refuses it
        log.error("program.schedule_invalid", expression=expression)
        return NEVER
