"""Percentiles: read as histograms of a few bytes and added up here, since no database can do that itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from . import histogram
from .measures import Distribution, Measure, Source, Sql
from .tiers import RAW, Segment

ROWS_AT_ONCE = 2000
Key = tuple[int, int]  # owner, bucket


@dataclass
class Spread:
    """What was seen so far of one bucket, in the stored unit."""

    counts: dict[int, int] = field(default_factory=dict)
    low: float = float("inf")
    high: float = float("-inf")

    def note(self, counts: Mapping[int, int], low: float, high: float) -> None:
        for bin_, count in counts.items():
            self.counts[bin_] = self.counts.get(bin_, 0) + count
        self.low, self.high = min(self.low, low), max(self.high, high)

    def at(self, share: float, scale: histogram.Scale) -> float | None:
        """Bins are a few percent wide, so the answer is held between what really was."""
        value = histogram.percentile(self.counts, share, scale)
        return None if value is None else min(max(value, self.low), self.high)


def percentiles(
    source: Source, segments: Sequence[Segment], measure: Measure, shares: Iterable[float], step: int | None = None
) -> dict[Key, list[float]]:
    """(owner, bucket) → the value at each of `shares`, in the order of time. Without `step` all is one bucket, 0.

    What has no points is left out, as is everything of a measure without a distribution.
    """
    kind, wanted = measure.distribution, list(shares)
    if kind is None:
        return {}
    found = {}
    for key, spread in sorted(_spreads(source, segments, kind, step).items()):
        values = [value for share in wanted if (value := spread.at(share, kind.scale)) is not None]
        if values:
            found[key] = [measure.shown(value * kind.unit) for value in values]
    return found


def _spreads(
    source: Source, segments: Sequence[Segment], kind: Distribution, step: int | None
) -> dict[Key, Spread]:
    spreads: dict[Key, Spread] = {}
    for segment in segments:
        is_raw = segment.tier is RAW
        for owner, bucket, stored, low, high in _rows(_query(source, segment, kind, step)):
            if stored is not None:
                counts = {kind.scale.bin_of(float(stored)): 1} if is_raw else histogram.add_up([stored])
                spreads.setdefault((owner, bucket), Spread()).note(counts, low, high)
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
