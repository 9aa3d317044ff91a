"""Percentiles: read as histograms of a few bytes and added up here, since no database can do that itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import connection

from . import histogram
from .measures import Distribution, Measure, Source, Sql
from .tiers import RAW, Segment

ROWS_AT_ONCE = 2000
Key = tuple[int, int]  # owner, bucket


class Spread:
    """What was seen of one bucket, in the stored unit."""

    __slots__ = ("blobs", "high", "low", "points")

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.points: list[float] = []
        self.blobs: list[bytes] = []

    def note(self, low: float, high: float) -> None:
        if low < self.low:
            self.low = low
        if high > self.high:
            self.high = high

    def at(self, shares: Iterable[float], scale: histogram.Scale) -> list[float]:
        """Empty without points. Bins are a few percent wide, so each is held between what really was."""
        counts = histogram.add_up(self.blobs)
        for point in self.points:
            bin_ = scale.bin_of(point)
            counts[bin_] = counts.get(bin_, 0) + 1
        found = [histogram.percentile(counts, share, scale) for share in shares]
        return [min(max(value, self.low), self.high) for value in found if value is not None]


def percentiles(
    source: Source, segments: Sequence[Segment], measure: Measure, shares: Iterable[float], step: int | None = None
) -> dict[Key, list[float]]:
    """(owner, bucket) → the value at each of `shares`, in the order of time. Without `step` all is one bucket, 0.

    What has no points is left out, as is everything of a measure without a distribution.
    """
    kind, wanted = measure.distribution, list(shares)
    if kind is None:
        return {}
    spreads = _spreads(source, segments, kind, step)
    found = ((key, spreads[key].at(wanted, kind.scale)) for key in sorted(spreads))
    return {key: [measure.shown(value * kind.unit) for value in values] for key, values in found if values}


def _spreads(
    source: Source, segments: Sequence[Segment], kind: Distribution, step: int | None
) -> dict[Key, Spread]:
    spreads: dict[Key, Spread] = {}
    for segment in segments:
        is_raw = segment.tier is RAW
        for owner, bucket, stored, low, high in _rows(_query(source, segment, kind, step)):
            if stored is None:
                continue
            spread = spreads.get((owner, bucket))
            if spread is None:
                spread = spreads[owner, bucket] = Spread(low, high)
            else:
                spread.note(low, high)
            if is_raw:
                spread.points.append(float(stored))
            else:
                spread.blobs.append(stored)
    return spreads


def _query(source: Source, segment: Segment, kind: Distribution, step: int | None) -> Sql:
    stored = kind.value if segment.tier is RAW else kind.histogram
    bucket = "0" if step is None else f"timestamp - timestamp %% {step}"
    rows, values = source.rows(segment)
    return f"SELECT {source.owner}, {bucket}, {stored}, {kind.low}, {kind.high} {rows}", values


def _rows(query: Sql) -> Iterator[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(*query)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield from rows
