"""Which endpoints get an event: subscriptions (types, severity, programs, tags, conditions) and mutes. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cronsim import CronSim

from core.timeformat import local_time

from .conditions import evaluate

SEVERITIES = {"info": 0, "warning": 1, "error": 2}
NEVER_MATCHED = frozenset({"webhook.test"})  # goes to the tested endpoint only
MAX_PATTERN_LENGTH = 40
_PATTERN = re.compile(r"\*|[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*(\.\*)?")


# --- Event types ----------------------------------------------------------------------------------------


def is_pattern(value: object) -> bool:
    """`program.crashed`: that type. `program.*`: all types of the area. `*`: everything."""
    return isinstance(value, str) and len(value) <= MAX_PATTERN_LENGTH and _PATTERN.fullmatch(value) is not None


def matches_pattern(pattern: str, event_type: str) -> bool:
    if pattern.endswith("*"):
        return event_type.startswith(pattern[:-1])
    return event_type == pattern


# --- Subscriptions --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subscription:
    """The events of an endpoint. Programs and tags add up; without either, events of all programs match."""

    id: int
    patterns: tuple[str, ...]
    programs: frozenset[int] = frozenset()
    tags: frozenset[str] = frozenset()
    min_severity: str = "info"
    conditions: Mapping[str, Any] | None = None
    bundle: timedelta = timedelta()


@dataclass(frozen=True)
class MatchableEvent:
    """`as_json` is called only if there are conditions to evaluate: it is slow."""

    type: str
    severity: str
    program: int | None
    tags: frozenset[str]
    as_json: Callable[[], Mapping[str, Any]]


def matches(subscription: Subscription, event: MatchableEvent) -> bool:
    if event.type in NEVER_MATCHED or SEVERITIES[event.severity] < SEVERITIES[subscription.min_severity]:
        return False
    if not any(matches_pattern(pattern, event.type) for pattern in subscription.patterns):
        return False
    if (subscription.programs or subscription.tags) and not _matches_program(subscription, event):
        return False
    return not subscription.conditions or evaluate(subscription.conditions, event.as_json())


def _matches_program(subscription: Subscription, event: MatchableEvent) -> bool:
    return event.program in subscription.programs or not subscription.tags.isdisjoint(event.tags)


# --- Mutes ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MuteRule:
    """Mutes `endpoint` (None: all) for events of `program` (None: all, and the monitor's own events)."""

    endpoint: int | None
    program: int | None
    starts_at: datetime
    ends_at: datetime | None = None
    cron: str = ""
    cron_length: timedelta = timedelta(hours=1)
    reason: str = ""

    def applies(self, endpoint: int, program: int | None, at: datetime) -> bool:
        if self.endpoint not in (None, endpoint) or self.program not in (None, program):
            return False
        return self.is_active(at)

    def is_active(self, at: datetime) -> bool:
        return self.starts_at <= at and (self.ends_at is None or at < self.ends_at) and self._in_window(at)

    def _in_window(self, at: datetime) -> bool:
        if not self.cron:
            return True
        for start in CronSim(self.cron, local_time(at - self.cron_length)):
            # In the repeated hour of autumn the first start can lie before the time asked for.
            since = at - start.astimezone(UTC)
            if since < self.cron_length:
                return since >= timedelta()
        return False


def active_mute(mutes: Iterable[MuteRule], endpoint: int, program: int | None, at: datetime) -> MuteRule | None:
    return next((mute for mute in mutes if mute.applies(endpoint, program, at)), None)
