"""What the history says of many programs at one moment: one query for each rule, however many they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection

from metrics import tiers
from metrics.measures import Programs, marks
from metrics.models import HostUsage
from metrics.queries import united
from metrics.tiers import RAW, TIERS, Tier

from .levels import Level
from .policy import Reading, Terms

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
        start, source = self.end - terms.window, Programs(None if programs is None else sorted(programs))
        segments = tiers.segments(start, self.end, coarsest(terms.window), self._complete, self.end)
        rows, values = united(source, segments, ", ".join(level.columns))
        covered, over, under = level.sums
        beyond = level.is_beyond(over, under, above=terms.is_above)
        sql = (
            f"SELECT program_id, {covered}, {over}, {under} FROM ({rows}) AS found "  # noqa: S608  (names)
            f"GROUP BY program_id HAVING {beyond} OR program_id IN ({marks(len(lasting))})"
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, [*values, level.limit(terms.threshold, above=terms.is_above), *lasting])
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found


def coarsest(window: int) -> Tier:
    return next((tier for tier in reversed(TIERS) if tier.width * LEAST_ROWS <= window), RAW)
