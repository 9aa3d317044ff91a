"""Time series for charts, aggregated in portable SQL.

A point is the aggregate of the time bucket that begins at its timestamp. Buckets begin at multiples of the step,
so the same query a second later returns the same points. A bucket without rows has no point.
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
from metrics.storage.tiers import DAY_SECONDS, HOUR_SECONDS, RAW, TIERS, Tier, TierSegment

from .measures import AGGREGATE_SQL, PERCENTILES, SINGLE_ROW_SQL, Measure, ProgramSource, RowSource, Sql
from .percentiles import percentiles

CACHE_KIND = "metrics"
MAX_POINTS = 2000  # per series
MAX_POINTS_OF_ALL = 20_000  # per measure and aggregate, over all programs
AUTO_POINTS = 500
AUTO_STEPS = (
    *(10, 30, 60, 120, 300, 600, 1800),
    *(hours * HOUR_SECONDS for hours in (1, 2, 6, 12)),
    *(days * DAY_SECONDS for days in (1, 7, 30)),
)

AggregateSelection = Mapping[str, Sequence[str]]  # measure → aggregates
Series = dict[str, dict[str, list[list[float]]]]  # measure → aggregate → [[Unix seconds, value], …]


@dataclass(frozen=True)
class SeriesPlan:
    """Buckets of `step` seconds from `start` (a multiple of `step`) to `end`, read from `tier` and finer tiers."""

    start: int
    end: int
    step: int
    tier: Tier

    @property
    def points(self) -> int:
        return -(-(self.end - self.start) // self.step)

    @property
    def length(self) -> int:
        """In seconds; a multiple of `step`."""
        return self.points * self.step

    def earlier(self) -> SeriesPlan:
        return replace(self, start=self.start - self.length, end=self.end - self.length)


def plan_series(
    start: int, end: int, *, step: int | None, now: int, owners: int = 1, oldest: int | None = None
) -> SeriesPlan:
    """Chooses the tier, and the step if it is None. Raises ValidationError.

    `owners` (programs) share the limit on points. `oldest` is how far back the tier must reach; default `start`.
    The step is rounded up to a multiple of the tier's row width.
    """
    if start >= end:
        raise ValidationError({"end": "Must be after start."})
    max_points = max(2, min(MAX_POINTS, MAX_POINTS_OF_ALL // max(1, owners)))
    requested = step or _auto_step(end - start, min(max_points, AUTO_POINTS))
    tier = _coarsest_tier(requested, start if oldest is None else oldest, now)
    step_seconds = -(-requested // tier.width) * tier.width
    found = SeriesPlan(start - start % step_seconds, end, step_seconds, tier)
    if found.points > max_points and step:
        fitting = -(-(end - start) // (max_points - 1))
        message = f"{found.points:,} points exceed the limit of {max_points:,}. Use a step of at least {fitting}."
        raise ValidationError({"step": message})
    return found


def _auto_step(seconds: int, max_points: int) -> int:
    # One bucket less than allowed, because `start` is rounded down to a bucket.
    least = max(RAW.width, -(-seconds // (max_points - 1)))
    return next((step for step in AUTO_STEPS if step >= least), least)


def _coarsest_tier(step: int, oldest: int, now: int) -> Tier:
    """The coarsest tier that is fine enough, or a coarser one if its rows were deleted already."""
    tier = next((tier for tier in reversed(TIERS) if tier.width <= step), RAW)
    while oldest < now - tier.kept_seconds and tier in tiers.COARSER:
        tier = tiers.COARSER[tier]
    return tier


def select_aggregates(
    measures: Mapping[str, Measure], names: Sequence[str], aggregates: Sequence[str]
) -> AggregateSelection:
    """Validates measures and aggregates. Raises ValidationError.

    Not every measure has every aggregate; it is an error only if a measure has none of them.
    """
    known = {name for measure in measures.values() for name in measure.names}
    if unknown := [name for name in aggregates if name not in known]:
        raise ValidationError({"aggregates": f"Unknown aggregate {unknown[0]}. Use {', '.join(sorted(known))}."})
    selection = {name: _aggregates_of(measures, name, aggregates) for name in names}
    return {name: list(dict.fromkeys(found)) for name, found in selection.items()}


def _aggregates_of(measures: Mapping[str, Measure], name: str, aggregates: Sequence[str]) -> list[str]:
    if name not in measures:
        raise ValidationError({"metrics": f"Unknown metric {name}. Use {', '.join(measures)}."})
    available = measures[name].names
    if found := [aggregate for aggregate in aggregates if aggregate in available]:
        return found
    raise ValidationError({"aggregates": f"{name} has only {', '.join(available)}."})


# --- Reading --------------------------------------------------------------------------------------------


def read_series(source: RowSource, plan: SeriesPlan, selection: AggregateSelection, now: int) -> dict[int, Series]:
    """The series of every program or host (by id) with rows in that time.

    Two queries, and one per tier for each measure with percentiles.
    """
    segments = tiers.segments(plan.start, plan.end, plan.tier, source.complete_until(), now)
    requested = [
        (name, aggregate) for name in selection for aggregate in selection[name] if aggregate not in PERCENTILES
    ]
    found: dict[int, Series] = {}
    rows = _fetch_sorted(_aggregate_query(source, segments, plan.step, requested)) if requested else []
    for owner, group in groupby(rows, itemgetter(0)):
        series_of_owner, own_rows = empty_series(selection), list(group)
        for column, (name, aggregate) in enumerate(requested, 2):
            series_of_owner[name][aggregate] = _points(own_rows, column, source.measures[name])
        found[owner] = series_of_owner
    for name, aggregates in selection.items():
        if shares := {aggregate: PERCENTILES[aggregate] for aggregate in aggregates if aggregate in PERCENTILES}:
            by_bucket = percentiles(source, segments, source.measures[name], shares.values(), plan.step)
            for (owner, bucket), numbers in by_bucket.items():
                series_of_owner = found.get(owner) or found.setdefault(owner, empty_series(selection))
                for aggregate, number in zip(shares, numbers, strict=True):
                    series_of_owner[name][aggregate].append([bucket, number])
    return found


def cached_series(
    source: ProgramSource, plan: SeriesPlan, selection: AggregateSelection, now: int
) -> dict[int, Series]:
    """`read_series` with a cache for settled history: one query on a hit, one more than usual on a miss."""
    revision = settled_revision(plan.end) if plan.end <= now - SETTLED_SECONDS else None
    if revision is None:
        return read_series(source, plan, selection, now)
    key = cache.key_of("series", revision, source.ids, plan.start, plan.end, plan.step, plan.tier.name, selection)
    cached = cache.get(CACHE_KIND, key)
    if cached is not None:
        return {int(owner): found for owner, found in cached.items()}  # JSON has string keys only
    found = read_series(source, plan, selection, now)
    cache.put(CACHE_KIND, key, found)
    return found


def empty_series(selection: AggregateSelection) -> Series:
    return {name: {aggregate: [] for aggregate in aggregates} for name, aggregates in selection.items()}


def _points(rows: Sequence[tuple[Any, ...]], column: int, measure: Measure) -> list[list[float]]:
    if measure.is_exact:
        return [[row[1], row[column]] for row in rows if row[column] is not None]
    return [[row[1], measure.rounded(row[column])] for row in rows if row[column] is not None]


def _aggregate_query(
    source: RowSource, segments: Sequence[TierSegment], step: int, requested: Sequence[tuple[str, str]]
) -> Sql:
    # Rows as wide as a bucket need no GROUP BY, which would take longer than reading them.
    whole = [segment for segment in segments if segment.tier is not RAW and segment.tier.width == step]
    queries = [_single_row_query(source, segment, requested) for segment in whole]
    if others := [segment for segment in segments if segment not in whole]:
        queries.append(_grouped_query(source, others, step, requested))
    return " UNION ALL ".join(text for text, _ in queries), [value for _, values in queries for value in values]


def _single_row_query(source: RowSource, segment: TierSegment, requested: Sequence[tuple[str, str]]) -> Sql:
    columns_sql = ", ".join(
        source.measures[name].aggregates[aggregate].format(**SINGLE_ROW_SQL) for name, aggregate in requested
    )
    rows, values = source.rows(segment)
    return f"SELECT {source.owner}, timestamp, {columns_sql} {rows}", values


def _grouped_query(
    source: RowSource, segments: Sequence[TierSegment], step: int, requested: Sequence[tuple[str, str]]
) -> Sql:
    measures = [source.measures[name] for name, _ in requested]
    columns = sorted({column for measure in measures for column in measure.columns})
    bucket = f"timestamp - timestamp %% {step} AS bucket"
    rows, values = union_rows(source, segments, f"timestamp, {bucket}, {', '.join(columns)}")
    if any(aggregate == "last" for _, aggregate in requested):
        order = f"PARTITION BY {source.owner}, bucket ORDER BY timestamp DESC"
        rows = f"SELECT rows_of.*, row_number() OVER ({order}) AS newest FROM ({rows}) AS rows_of"  # noqa: S608  (names)
    columns_sql = ", ".join(
        source.measures[name].aggregates[aggregate].format(**AGGREGATE_SQL) for name, aggregate in requested
    )
    sql = f"SELECT {source.owner}, bucket, {columns_sql} FROM ({rows}) AS found GROUP BY {source.owner}, bucket"  # noqa: S608  (names)
    return sql, values


def union_rows(source: RowSource, segments: Sequence[TierSegment], columns: str) -> Sql:
    """The rows of all segments. `columns` is SQL and must never contain user input."""
    queries = [source.rows(segment) for segment in segments]
    text = " UNION ALL ".join(f"SELECT {source.owner}, {columns} {rows}" for rows, _ in queries)
    return text, [value for _, values in queries for value in values]


def _fetch_sorted(query: Sql) -> list[tuple[Any, ...]]:
    # They arrive nearly sorted, so sorting here is faster than ORDER BY.
    with connection.cursor() as cursor:
        cursor.execute(*query)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    rows.sort(key=itemgetter(1))
    rows.sort(key=itemgetter(0))
    return rows
