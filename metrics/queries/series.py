"""Series of points for charts, aggregated by the database in SQL that SQLite and PostgreSQL both speak.

A point stands for the bucket that begins at its time. Buckets begin at multiples of the step, so the same question
a second later has the same points. A bucket without rows has no point: a gap is a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection

from core import cache
from metrics.storage import tiers
from metrics.storage.history_revision import SETTLED_SECONDS, settled_revision
from metrics.storage.tiers import DAY_SECONDS, HOUR_SECONDS, RAW, TIERS, Segment, Tier

from .measures import OF_MANY, OF_ONE, PERCENTILES, Measure, Programs, Source, Sql
from .percentiles import percentiles

CACHE_KIND = "metrics"
MAX_POINTS = 2000  # of one series
MAX_POINTS_OF_ALL = 20_000  # of one measure and aggregate, over all programs
AUTO_POINTS = 500
AUTO_STEPS = (
    *(10, 30, 60, 120, 300, 600, 1800),
    *(hours * HOUR_SECONDS for hours in (1, 2, 6, 12)),
    *(days * DAY_SECONDS for days in (1, 7, 30)),
)

Chosen = Mapping[str, Sequence[str]]  # measure → aggregates
Series = dict[str, dict[str, list[list[float]]]]  # measure → aggregate → [[Unix seconds, value], …]


@dataclass(frozen=True)
class Plan:
    """Buckets of `step` seconds from `start`, a multiple of it, up to `end`; from `tier` and finer ones."""

    start: int
    end: int
    step: int
    tier: Tier

    @property
    def points(self) -> int:
        return -(-(self.end - self.start) // self.step)

    @property
    def length(self) -> int:
        """Seconds, in whole buckets."""
        return self.points * self.step

    def earlier(self) -> Plan:
        """The same length just before."""
        return replace(self, start=self.start - self.length, end=self.end - self.length)


def plan(start: int, end: int, *, step: int | None, now: int, owners: int = 1, reach: int | None = None) -> Plan:
    """Chooses the tier, and the step too when it is None. Raises ValidationError.

    So many `owners` share the bound on points. `reach` is how far back the tier has to go; `start` by default. A
    step becomes a multiple of the tier's width: what was kept by the hour cannot be shown by the minute.
    """
    if start >= end:
        raise ValidationError({"end": "Must come after the start."})
    most = max(2, min(MAX_POINTS, MAX_POINTS_OF_ALL // max(1, owners)))
    wanted = step or _auto_step(end - start, min(most, AUTO_POINTS))
    tier = _tier_for(wanted, start if reach is None else reach, now)
    wide = -(-wanted // tier.width) * tier.width
    found = Plan(start - start % wide, end, wide, tier)
    if found.points > most and step:
        fitting = -(-(end - start) // (most - 1))
        message = f"That would be {found.points:,} points, and {most:,} may be: take {fitting} seconds or more."
        raise ValidationError({"step": message})
    return found


def _auto_step(seconds: int, most: int) -> int:
    # One bucket more comes from where the first begins.
    least = max(RAW.width, -(-seconds // (most - 1)))
    return next((step for step in AUTO_STEPS if step >= least), least)


def _tier_for(step: int, reach: int, now: int) -> Tier:
    """The coarsest that is fine enough; a coarser one where that does not go back so far."""
    tier = next((tier for tier in reversed(TIERS) if tier.width <= step), RAW)
    while reach < now - tier.kept_seconds and tier in tiers.COARSER:
        tier = tiers.COARSER[tier]
    return tier


def choose(measures: Mapping[str, Measure], names: Sequence[str], aggregates: Sequence[str]) -> Chosen:
    """Which aggregates of which measures, from what people ask for. Raises ValidationError.

    Not every measure has every aggregate; it is refused only when it has none of those asked for.
    """
    known = {name for measure in measures.values() for name in measure.names}
    if unknown := [name for name in aggregates if name not in known]:
        raise ValidationError({"aggregates": f"There is no {unknown[0]}; known: {', '.join(sorted(known))}."})
    chosen = {name: _of_measure(measures, name, aggregates) for name in names}
    return {name: list(dict.fromkeys(found)) for name, found in chosen.items()}


def _of_measure(measures: Mapping[str, Measure], name: str, aggregates: Sequence[str]) -> list[str]:
    if name not in measures:
        raise ValidationError({"metrics": f"There is no metric {name}; known: {', '.join(measures)}."})
    own = measures[name].names
    if found := [aggregate for aggregate in aggregates if aggregate in own]:
        return found
    raise ValidationError({"aggregates": f"{name} has only {', '.join(own)}."})


# --- Reading --------------------------------------------------------------------------------------------


def series(source: Source, asked: Plan, chosen: Chosen, now: int) -> dict[int, Series]:
    """The series of every program or host (by id) with rows in that time. Two queries, one more for percentiles
    of each measure and tier.
    """
    segments = tiers.segments(asked.start, asked.end, asked.tier, source.complete_until(), now)
    wanted = [(name, aggregate) for name in chosen for aggregate in chosen[name] if aggregate not in PERCENTILES]
    found: dict[int, Series] = {}
    rows = _rows(_aggregate(source, segments, asked.step, wanted)) if wanted else []
    for owner, group in groupby(rows, itemgetter(0)):
        own, own_rows = empty(chosen), list(group)
        for column, (name, aggregate) in enumerate(wanted, 2):
            own[name][aggregate] = _points(own_rows, column, source.measures[name])
        found[owner] = own
    for name, aggregates in chosen.items():
        if shares := {aggregate: PERCENTILES[aggregate] for aggregate in aggregates if aggregate in PERCENTILES}:
            spread = percentiles(source, segments, source.measures[name], shares.values(), asked.step)
            for (owner, bucket), numbers in spread.items():
                own = found.get(owner) or found.setdefault(owner, empty(chosen))
                for aggregate, number in zip(shares, numbers, strict=True):
                    own[name][aggregate].append([bucket, number])
    return found


def cached_series(source: Programs, asked: Plan, chosen: Chosen, now: int) -> dict[int, Series]:
    """As `series.series`. One query more for a time that may be settled; that one alone when it was asked."""
    revision = settled_revision(asked.end) if asked.end <= now - SETTLED_SECONDS else None
    if revision is None:
        return series(source, asked, chosen, now)
    key = cache.key_of("series", revision, source.ids, asked.start, asked.end, asked.step, asked.tier.name, chosen)
    known = cache.fetch(CACHE_KIND, key)
    if known is not None:
        return {int(owner): found for owner, found in known.items()}
    found = series(source, asked, chosen, now)
    cache.keep(CACHE_KIND, key, found)
    return found


def empty(chosen: Chosen) -> Series:
    return {name: {aggregate: [] for aggregate in aggregates} for name, aggregates in chosen.items()}


def _points(rows: Sequence[tuple[Any, ...]], column: int, measure: Measure) -> list[list[float]]:
    if measure.is_exact:
        return [[row[1], row[column]] for row in rows if row[column] is not None]
    return [[row[1], measure.shown(row[column])] for row in rows if row[column] is not None]


def _aggregate(source: Source, segments: Sequence[Segment], step: int, wanted: Sequence[tuple[str, str]]) -> Sql:
    """One row for each owner and bucket."""
    # Nothing is to be added up where a row is a bucket, and grouping them takes longer than reading them.
    whole = [segment for segment in segments if segment.tier is not RAW and segment.tier.width == step]
    parts = [_single(source, segment, wanted) for segment in whole]
    if others := [segment for segment in segments if segment not in whole]:
        parts.append(_grouped(source, others, step, wanted))
    return " UNION ALL ".join(text for text, _ in parts), [value for _, values in parts for value in values]


def _single(source: Source, segment: Segment, wanted: Sequence[tuple[str, str]]) -> Sql:
    shown = ", ".join(source.measures[name].aggregates[aggregate].format(**OF_ONE) for name, aggregate in wanted)
    rows, values = source.rows(segment)
    return f"SELECT {source.owner}, timestamp, {shown} {rows}", values


def _grouped(source: Source, segments: Sequence[Segment], step: int, wanted: Sequence[tuple[str, str]]) -> Sql:
    measures = [source.measures[name] for name, _ in wanted]
    columns = sorted({column for measure in measures for column in measure.columns})
    bucket = f"timestamp - timestamp %% {step} AS bucket"
    rows, values = united(source, segments, f"timestamp, {bucket}, {', '.join(columns)}")
    if any(aggregate == "last" for _, aggregate in wanted):
        order = f"PARTITION BY {source.owner}, bucket ORDER BY timestamp DESC"
        rows = f"SELECT rows_of.*, row_number() OVER ({order}) AS newest FROM ({rows}) AS rows_of"  # noqa: S608  (names)
    shown = ", ".join(source.measures[name].aggregates[aggregate].format(**OF_MANY) for name, aggregate in wanted)
    return f"SELECT {source.owner}, bucket, {shown} FROM ({rows}) AS found GROUP BY {source.owner}, bucket", values  # noqa: S608  (names)


def united(source: Source, segments: Sequence[Segment], columns: str) -> Sql:
    """The rows of all segments under one another. `columns` are ours, never input."""
    parts = [source.rows(segment) for segment in segments]
    text = " UNION ALL ".join(f"SELECT {source.owner}, {columns} {rows}" for rows, _ in parts)
    return text, [value for _, values in parts for value in values]


def _rows(query: Sql) -> list[tuple[Any, ...]]:
    """By owner and time. They come nearly sorted, so this is quicker than having the database do it."""
    with connection.cursor() as cursor:
        cursor.execute(*query)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    rows.sort(key=itemgetter(1))
    rows.sort(key=itemgetter(0))
    return rows
