"""What the history says of many programs at one moment: one query for each rule, however many they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from metrics import tiers
from metrics.measures import Programs
from metrics.models import HostUsage
from metrics.queries import united
from metrics.tiers import RAW, TIERS, Tier

from .levels import Level
from .policy import Reading

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

    def readings(self, level: Level, window: int, programs: Collection[int]) -> dict[int, Reading]:
        """Of each of the `programs`; those without a row have no value."""
        found = self._sums(level, window, programs)
        nothing = (0, None, None)
        return {program: self._reading(level, program, *found.get(program, nothing)) for program in programs}

    def _reading(self, level: Level, program: int, covered: object, over: object, under: object) -> Reading:
        seconds = float(covered) / 1000 if covered else 0.0  # type: ignore[arg-type]  # of a sum
        return Reading(level.of(over, under), seconds, self._present.of(program))

    def _sums(
        self, level: Level, window: int, programs: Collection[int]
    ) -> Mapping[int, tuple[object, object, object]]:
        start = self.end - window
        segments = tiers.segments(start, self.end, coarsest(window), self._complete, self.end)
        rows, values = united(Programs(sorted(programs)), segments, ", ".join(level.columns))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT program_id, {level.aggregates} FROM ({rows}) AS found GROUP BY program_id",  # noqa: S608  (names)
                values,
            )
            return {program: (covered, over, under) for program, covered, over, under in cursor.fetchall()}


def coarsest(window: int) -> Tier:
    return next((tier for tier in reversed(TIERS) if tier.width * LEAST_ROWS <= window), RAW)
