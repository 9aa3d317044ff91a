"""Queries for alerts: metric values for the evaluation, and rules and alerts for API, admin and commands.

The number of queries never grows with the number of rows.
"""

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
from .policy import MetricReading, Thresholds
from .units import MetricSpec

MIN_ROWS = 4  # of the coarsest tier in a window; the edges are read from finer ones
MIN_ABSENT_POINTS = 3  # missing points after which a program counts as stopped; a busy machine may miss fewer


def absent_seconds(step: int) -> int:
    """The time without points after which a program counts as stopped, in whole steps."""
    return round_up(MIN_ABSENT_POINTS * max(1, round(settings.RECORD_SECONDS)), step)


def round_up(seconds: int, step: int) -> int:
    return -(-seconds // step) * step


class Presence(NamedTuple):
    """`running`: programs with recent points. `is_complete`: the agent recorded without gap, so others stopped."""

    running: frozenset[int]
    is_complete: bool

    def is_running(self, program: int) -> bool | None:
        return True if program in self.running else False if self.is_complete else None


def presence(host_id: int, end: int) -> Presence:
    start = end - absent_seconds(RAW.width)
    rows = RAW.model._default_manager.filter(
        period__range=(RAW.period_of(start), RAW.period_of(end - 1)), timestamp__gte=start, timestamp__lt=end
    )
    running = frozenset(rows.order_by().values_list("program_id", flat=True).distinct())
    seen = HostUsage.objects.filter(host=host_id, step=RAW.step, timestamp__gte=start, timestamp__lt=end).count()
    return Presence(running, seen * RAW.width >= end - start)


class MetricReader:
    """Reads metric values of windows that end at `end`. Queries once, for all rules, how far the roll-up is."""

    def __init__(self, end: int, present: Presence) -> None:
        self.end = end
        self._present = present
        self._complete = tiers.complete_until()

    def readings(
        self,
        spec: MetricSpec,
        thresholds: Thresholds,
        programs: Collection[int] | None,
        firing_programs: Collection[int],
    ) -> dict[int, MetricReading]:
        """Readings of `programs` (None: all) whose value is beyond the threshold, or nearly.

        The others cannot fire, so SQL filters them out. `firing_programs` always have a reading, without a value
        if nothing was recorded.
        """
        rows = self._aggregates(spec, thresholds, programs, sorted(firing_programs))
        found = {program: self._reading(spec, program, *sql_aggregates) for program, *sql_aggregates in rows}
        missing = (program for program in firing_programs if program not in found)
        return found | {program: self._reading(spec, program, 0, None, None) for program in missing}

    def _reading(
        self, spec: MetricSpec, program: int, covered: Any, numerator: Any, denominator: Any
    ) -> MetricReading:
        return MetricReading(
            spec.compute(numerator, denominator), float(covered) / 1000, self._present.is_running(program)
        )

    def _aggregates(
        self,
        spec: MetricSpec,
        thresholds: Thresholds,
        programs: Collection[int] | None,
        firing_programs: Sequence[int],
    ) -> list[tuple[Any, ...]]:
        start, source = self.end - thresholds.window, ProgramSource(None if programs is None else sorted(programs))
        segments = tiers.segments(start, self.end, coarsest_tier(thresholds.window), self._complete, self.end)
        rows, values = union_rows(source, segments, ", ".join(spec.columns))
        covered, numerator, denominator = spec.sql_aggregates
        condition = spec.sql_condition(numerator, denominator, above=thresholds.is_above)
        sql = (
            f"SELECT program_id, {covered}, {numerator}, {denominator} FROM ({rows}) AS found "  # noqa: S608  (names)
            f"GROUP BY program_id HAVING {condition} OR program_id IN ({placeholders(len(firing_programs))})"
        )
        with connection.cursor() as cursor:
            cursor.execute(
                sql, [*values, spec.sql_limit(thresholds.threshold, above=thresholds.is_above), *firing_programs]
            )
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found


def coarsest_tier(window: int) -> Tier:
    return next((tier for tier in reversed(TIERS) if tier.width * MIN_ROWS <= window), RAW)


IS_OPEN_BY_STATE = {"firing": True, "resolved": False}


def rules(*, search: str = "", enabled: bool | None = None, metric: str = "") -> QuerySet[AlertRule]:
    """Rules by name, annotated with the number of their open alerts as `firing`."""
    # A subquery, because it uses the index of open alerts; resolved ones may be many thousands.
    open_ = Alert.objects.filter(rule=OuterRef("pk"), resolved_at=None).order_by().values("rule")
    counted = Coalesce(Subquery(open_.annotate(number=Count("pk")).values("number")), 0)
    found = AlertRule.objects.annotate(firing=counted).order_by("name")
    if search:
        found = found.filter(Q(name__icontains=search) | Q(description__icontains=search))
    if metric:
        found = found.filter(metric=metric)
    return found if enabled is None else found.filter(enabled=enabled)


def alerts(state: str = "") -> QuerySet[Alert]:
    """Newest first. `state` is firing, resolved, or empty for both."""
    found = Alert.objects.order_by("-started_at", "-id")
    return found.filter(resolved_at__isnull=IS_OPEN_BY_STATE[state]) if state else found


def firing_alerts_of(program_id: int) -> QuerySet[Alert]:
    return alerts("firing").filter(program=program_id)


def firing_by_severity() -> dict[str, int]:
    """The number of open alerts for every severity. One query."""
    counted = Alert.objects.filter(resolved_at=None).order_by().values_list("severity").annotate(Count("pk"))
    return {**dict.fromkeys(Severity.values, 0), **dict(counted)}
