"""Percentiles of time buckets. Histograms are merged here, because no database can do that itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from core import replica
from metrics.storage import histogram
from metrics.storage.tiers import RAW, TierSegment

from .measures import DistributionColumns, Measure, RowSource, Sql

FETCH_ROWS = 2000
BucketKey = tuple[int, int]  # owner, bucket
SqlRow = tuple[Any, ...]


class BucketDistribution:
    """The histograms, minimum and maximum of one bucket, in the stored unit."""

    __slots__ = ("high", "histograms", "low")

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.histograms: list[bytes] = []

    def extend(self, low: float, high: float) -> None:
        if low < self.low:
            self.low = low
        if high > self.high:
            self.high = high

    def percentiles(self, shares: Iterable[float], scale: histogram.HistogramScale) -> list[float]:
        low, high = self.low, self.high
        found = histogram.percentiles(self.histograms, shares, scale)
        # Bins are a few percent wide, so a result may lie outside of what was measured.
        return [low if value < low else high if value > high else value for value in found]


Distributions = dict[BucketKey, BucketDistribution]


def percentiles(
    source: RowSource,
    segments: Sequence[TierSegment],
    measure: Measure,
    shares: Iterable[float],
    step: int | None = None,
) -> dict[BucketKey, list[float]]:
    """(owner, bucket) → the value at each of `shares`, in chronological order. Without `step`: one bucket, 0.

    Empty for a measure without a distribution; buckets without points are left out.
    """
    return percentiles_by_measure([measure], source, segments, shares, step)[0]


def percentiles_by_measure(
    measures: Sequence[Measure],
    source: RowSource,
    segments: Sequence[TierSegment],
    shares: Iterable[float],
    step: int | None = None,
) -> list[dict[BucketKey, list[float]]]:
    """`percentiles` of several measures, in their order, from one read of the rows."""
    columns = [measure.distribution for measure in measures if measure.distribution]
    distributions = iter(_read_distributions(source, segments, columns, step))
    wanted = list(shares)
    return [
        _percentiles(next(distributions), measure, measure.distribution, wanted) if measure.distribution else {}
        for measure in measures
    ]


def _percentiles(
    distributions: Distributions, measure: Measure, columns: DistributionColumns, shares: Sequence[float]
) -> dict[BucketKey, list[float]]:
    found = ((key, distributions[key].percentiles(shares, columns.scale)) for key in sorted(distributions))
    return {key: [measure.rounded(value * columns.unit) for value in values] for key, values in found if values}


def _read_distributions(
    source: RowSource, segments: Sequence[TierSegment], columns: Sequence[DistributionColumns], step: int | None
) -> list[Distributions]:
    found: list[Distributions] = [{} for _ in columns]
    for segment in segments if columns else ():
        for rows in _rows(_query(source, segment, columns, step)):
            for index, each in enumerate(columns):
                _collect(found[index], each, rows, 2 + 3 * index, is_raw=segment.tier is RAW)
    return found


def _collect(
    distributions: Distributions, columns: DistributionColumns, rows: Sequence[SqlRow], first: int, *, is_raw: bool
) -> None:
    # Kept simple for speed: there may be 100,000 rows. `first` is the index of the first of three columns.
    for row in rows:
        stored, low, high = row[first : first + 3]
        if stored is None:
            continue
        key = row[:2]
        bucket = distributions.get(key)
        if bucket is None:
            bucket = distributions[key] = BucketDistribution(low, high)
        else:
            bucket.extend(low, high)
        # Recorded points have a value instead of a histogram.
        bucket.histograms.append(histogram.encode({columns.scale.bin_of(float(stored)): 1}) if is_raw else stored)


def _query(
    source: RowSource, segment: TierSegment, columns: Sequence[DistributionColumns], step: int | None
) -> Sql:
    names = [
        name
        for each in columns
        for name in (each.value if segment.tier is RAW else each.histogram, each.low, each.high)
    ]
    bucket = "0" if step is None else f"timestamp - timestamp %% {step}"
    rows, values = source.rows(segment)
    return f"SELECT {source.owner}, {bucket}, {', '.join(names)} {rows}", values


def _rows(query: Sql) -> Iterator[list[SqlRow]]:
    with replica.connection_to_read().cursor() as cursor:
        cursor.execute(*query)
        while rows := cursor.fetchmany(FETCH_ROWS):
            yield rows
