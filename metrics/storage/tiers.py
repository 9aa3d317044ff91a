"""The tiers of history: the width of their rows, their retention, and which tiers to read for a time range.

A tier has no row of a bucket before the bucket is over and rolled up (`complete_until`). So a range that reaches
to the present, or does not start at a bucket, is read in several segments: see `segments`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from metrics import models

HOUR_SECONDS = 3600
DAY_SECONDS = 86_400
FOREVER = 1 << 62


@dataclass(frozen=True)
class Tier:
    """`seconds` is the width of a row (0: a recorded point), `period_seconds` that of the next coarser tier."""

    name: str
    seconds: int
    period_seconds: int
    model: type[models.ProgramUsage]
    kept_setting: str
    kept_unit: int

    @property
    def step(self) -> int:
        return self.seconds

    @property
    def width(self) -> int:
        return self.seconds or max(1, round(settings.RECORD_SECONDS))

    @property
    def kept_seconds(self) -> int:
        kept: int = getattr(settings, self.kept_setting) * self.kept_unit
        return kept

    def period_of(self, timestamp: int) -> int:
        return timestamp - timestamp % self.period_seconds

    def periods(self, start: int, end: int) -> range:
        """The periods with the rows of start <= timestamp < end."""
        return range(self.period_of(start), end, self.period_seconds)

    def floor(self, timestamp: int) -> int:
        return timestamp - timestamp % self.width

    def ceil(self, timestamp: int) -> int:
        return -(-timestamp // self.width) * self.width


RAW = Tier("raw", 0, 60, models.ResourceUsage, "RAW_HOURS", HOUR_SECONDS)
MINUTE = Tier("minute", 60, 600, models.ResourceUsageMinute, "MINUTE_DAYS", DAY_SECONDS)
TEN_MINUTES = Tier("ten_minutes", 600, 3600, models.ResourceUsageTenMinutes, "MINUTE_DAYS", DAY_SECONDS)
HOUR = Tier("hour", 3600, 86_400, models.ResourceUsageHour, "HOUR_DAYS", DAY_SECONDS)
DAY = Tier("day", 86_400, 30 * 86_400, models.ResourceUsageDay, "HOUR_DAYS", DAY_SECONDS)
TIERS = (RAW, MINUTE, TEN_MINUTES, HOUR, DAY)
BY_NAME = {tier.name: tier for tier in TIERS}
COARSER = dict(pairwise(TIERS))
FINER = {coarse: fine for fine, coarse in COARSER.items()}


class TierSegment(NamedTuple):
    """Rows of `tier` with start <= timestamp < end."""

    tier: Tier
    start: int
    end: int


def complete_until(open_periods: Iterable[tuple[str, int]] | None = None) -> dict[Tier, int]:
    """The time up to which each tier is complete. One small query.

    Later rows are in the next finer tier. `open_periods` are (tier name, period) pairs, read from the
    database by default.
    """
    if open_periods is None:
        open_periods = _open_periods()
    oldest: dict[str, int] = {}
    for name, period in open_periods:
        oldest[name] = min(period, oldest.get(name, FOREVER))
    complete = {RAW: FOREVER}
    until = FOREVER
    for fine, coarse in COARSER.items():
        until = min(until, oldest.get(fine.name, FOREVER))
        complete[coarse] = until if until == FOREVER else coarse.floor(until)
    return complete


def _open_periods() -> list[tuple[str, int]]:
    # In SQL, because every query about history runs this and the ORM takes longer than the query.
    table = connection.ops.quote_name(models.OpenPeriod._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT tier, min(period) FROM {table} GROUP BY tier")  # noqa: S608  (a name)
        rows: list[tuple[str, int]] = cursor.fetchall()
    return rows


def segments(start: int, end: int, coarsest: Tier, complete: Mapping[Tier, int], now: int) -> list[TierSegment]:
    """What to read, in chronological order, so that every second from `start` to `end` counts exactly once.

    Rows of `coarsest` where its buckets are complete, finer rows at the edges. If the finer rows at `start` were
    deleted already, the whole first bucket of the coarser tier is used instead.
    """
    if start >= end:
        return []
    finer = FINER.get(coarsest)
    if finer is None:
        return [TierSegment(coarsest, start, end)]
    is_kept = start > now - finer.kept_seconds
    first = coarsest.ceil(start) if is_kept else coarsest.floor(start)
    last = coarsest.floor(min(end, complete[coarsest]))
    if first >= last:
        return segments(start, end, finer, complete, now)
    head = segments(start, first, finer, complete, now)
    tail = segments(last, end, finer, complete, now)
    return [*head, TierSegment(coarsest, first, last), *tail]
