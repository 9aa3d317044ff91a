"""What the API, the admin and commands read: each in a number of queries that does not grow with the rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from metrics.models import HostUsage
from metrics.queries.measures import ProgramSource, placeholders
from metrics.queries.series import union_rows
from metrics.storage import tiers
from metrics.storage.tiers import RAW, TIERS, Tier

from .models import Alert, AlertRule, Severity
from .policy import Reading, Terms
from .units import Level

LEAST_ROWS = 4  # of the coarsest tier in a window; its ends are read from finer ones
ABSENT_POINTS = 3  # without so many a program has stopped; fewer may be missing when the machine is busy


def absent_seconds(step: int) -> int:
    """How long nothing may be recorded of a program that runs, in whole steps."""
    return whole(ABSENT_POINTS * max(1, round(settings.RECORD_SECONDS)), step)


def whole(seconds: int, step: int) -> int:
    """At least so many, in whole steps."""
    return -(-seconds // step) * step


class Presence(NamedTuple):
    """`running`: programs recorded lately. `is_complete`: the agent was there all the time, so others were not."""

    running: frozenset[int]
    is_complete: bool

    def of(self, program: int) -> bool | None:
        return True if program in self.running else False if self.is_complete else None


def presence(host_id: int, end: int) -> Presence:
    """Of all programs, as of `end`. Two queries."""
    start = end - absent_seconds(RAW.width)
    rows = RAW.model._default_manager.filter(
        period__range=(RAW.period_of(start), RAW.period_of(end - 1)), timestamp__gte=start, timestamp__lt=end
    )
    running = frozenset(rows.order_by().values_list("program_id", flat=True).distinct())
    seen = HostUsage.objects.filter(host=host_id, step=RAW.step, timestamp__gte=start, timestamp__lt=end).count()
    return Presence(running, seen * RAW.width >= end - start)


class Levels:
    """What was measured up to `end`. Asks once how far each tier is built, for all rules together."""

    def __init__(self, end: int, present: Presence) -> None:
        self.end = end
        self._present = present
        self._complete = tiers.complete_until()

    def readings(
        self, level: Level, terms: Terms, programs: Collection[int] | None, lasting: Collection[int]
    ) -> dict[int, Reading]:
        """Of those among `programs` (None: all there are) whose value is beyond the threshold, or nearly.

        The others have nothing to fire for, and of a thousand programs they are nearly all. Those that are
        `lasting` already have a reading in any case, without a value if nothing was recorded of them.
        """
        rows = self._sums(level, terms, programs, sorted(lasting))
        found = {program: self._reading(level, program, *sums) for program, *sums in rows}
        missing = (program for program in lasting if program not in found)
        return found | {program: self._reading(level, program, 0, None, None) for program in missing}

    def _reading(self, level: Level, program: int, covered: Any, over: Any, under: Any) -> Reading:
        return Reading(level.of(over, under), float(covered) / 1000, self._present.of(program))

    def _sums(
        self, level: Level, terms: Terms, programs: Collection[int] | None, lasting: Sequence[int]
    ) -> list[tuple[Any, ...]]:
        start, source = self.end - terms.window, ProgramSource(None if programs is None else sorted(programs))
        segments = tiers.segments(start, self.end, coarsest(terms.window), self._complete, self.end)
        rows, values = union_rows(source, segments, ", ".join(level.columns))
        covered, over, under = level.sums
        beyond = level.is_beyond(over, under, above=terms.is_above)
        sql = (
            f"SELECT program_id, {covered}, {over}, {under} FROM ({rows}) AS found "  # noqa: S608  (names)
            f"GROUP BY program_id HAVING {beyond} OR program_id IN ({placeholders(len(lasting))})"
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, [*values, level.limit(terms.threshold, above=terms.is_above), *lasting])
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found


def coarsest(window: int) -> Tier:
    return next((tier for tier in reversed(TIERS) if tier.width * LEAST_ROWS <= window), RAW)


IS_OPEN = {"firing": True, "resolved": False}


def rules(*, search: str = "", enabled: bool | None = None, metric: str = "") -> QuerySet[AlertRule]:
    """By name, each with the number of its open alerts as `firing`."""
    # Counted by the index of open alerts: those that are over may be many thousands.
    open_ = Alert.objects.filter(rule=OuterRef("pk"), resolved_at=None).order_by().values("rule")
    counted = Coalesce(Subquery(open_.annotate(number=Count("pk")).values("number")), 0)
    found = AlertRule.objects.annotate(firing=counted).order_by("name")
    if search:
        found = found.filter(Q(name__icontains=search) | Q(description__icontains=search))
    if metric:
        found = found.filter(metric=metric)
    return found if enabled is None else found.filter(enabled=enabled)


def alerts(state: str = "") -> QuerySet[Alert]:
    """Newest first. `state`: firing, resolved, or both when empty."""
    found = Alert.objects.order_by("-started_at", "-id")
    return found.filter(resolved_at__isnull=IS_OPEN[state]) if state else found


def firing_of(program_id: int) -> QuerySet[Alert]:
    return alerts("firing").filter(program=program_id)


def firing_by_severity() -> dict[str, int]:
    """How many alerts are open, also of severities of which none is. One query."""
    counted = Alert.objects.filter(resolved_at=None).order_by().values_list("severity").annotate(Count("pk"))
    return {**dict.fromkeys(Severity.values, 0), **dict(counted)}
