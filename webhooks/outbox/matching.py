"""Which endpoints want an event, and which are silent now. Pure: it knows no tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cronsim import CronSim

from core.timeformat import local_time

from .conditions import holds
from .patterns import matches

SEVERITIES = {"info": 0, "warning": 1, "error": 2}
NEVER_DELIVERED = frozenset({"webhook.test"})  # goes to the tested endpoint alone


@dataclass(frozen=True)
class Target:
    """What an endpoint wants to hear. Programs and tags add up; with neither it is everything."""

    id: int
    patterns: tuple[str, ...]
    programs: frozenset[int] = frozenset()
    tags: frozenset[str] = frozenset()
    min_severity: str = "info"
    conditions: Mapping[str, Any] | None = None
    bundle: timedelta = timedelta()


@dataclass(frozen=True)
class Subject:
    """The event, as far as matching looks at it. `as_json` is called only when conditions ask for it."""

    type: str
    severity: str
    program: int | None
    tags: frozenset[str]
    as_json: Callable[[], Mapping[str, Any]]


def wants(target: Target, subject: Subject) -> bool:
    if subject.type in NEVER_DELIVERED or SEVERITIES[subject.severity] < SEVERITIES[target.min_severity]:
        return False
    if not any(matches(pattern, subject.type) for pattern in target.patterns):
        return False
    if (target.programs or target.tags) and not _is_about(target, subject):
        return False
    return not target.conditions or holds(target.conditions, subject.as_json())


def _is_about(target: Target, subject: Subject) -> bool:
    return subject.program in target.programs or not target.tags.isdisjoint(subject.tags)


@dataclass(frozen=True)
class Mute:
    """Silence of `endpoint` (None: all) about `program` (None: all, and the monitor's own events)."""

    endpoint: int | None
    program: int | None
    starts_at: datetime
    ends_at: datetime | None = None
    cron: str = ""
    cron_length: timedelta = timedelta(hours=1)
    reason: str = ""

    def covers(self, endpoint: int, program: int | None, at: datetime) -> bool:
        if self.endpoint not in (None, endpoint) or self.program not in (None, program):
            return False
        return self.is_active(at)

    def is_active(self, at: datetime) -> bool:
        return self.starts_at <= at and (self.ends_at is None or at < self.ends_at) and self._in_window(at)

    def _in_window(self, at: datetime) -> bool:
        if not self.cron:
            return True
        began = next(CronSim(self.cron, local_time(at - self.cron_length)))
        return bool(began.astimezone(UTC) <= at)


def silenced_by(mutes: Iterable[Mute], endpoint: int, program: int | None, at: datetime) -> Mute | None:
    return next((mute for mute in mutes if mute.covers(endpoint, program, at)), None)
