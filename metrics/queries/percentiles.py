"""Percentiles: read as histograms of a few bytes and added up here, since no database can do that itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from core import replica
from metrics.storage import histogram
from metrics.storage.tiers import RAW, Segment

from .measures import Distribution, Measure, Source, Sql

ROWS_AT_ONCE = 2000
Key = tuple[int, int]  # owner, bucket
Row = tuple[Any, ...]


class Spread:
    """What was seen of one bucket, in the stored unit."""

    __slots__ = ("high", "histograms", "low")

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.histograms: list[bytes] = []

    def note(self, low: float, high: float) -> None:
        if low < self.low:
            self.low = low
        if high > self.high:
            self.high = high

    def at(self, shares: Iterable[float], scale: histogram.Scale) -> list[float]:
        """Empty without points. Bins are a few percent wide, so each is held between what really was."""
        low, high = self.low, self.high
        found = histogram.percentiles(self.histograms, shares, scale)
        return [low if value < low else high if value > high else value for value in found]


Spreads = dict[Key, Spread]


def percentiles(
    source: Source, segments: Sequence[Segment], measure: Measure, shares: Iterable[float], step: int | None = None
) -> dict[Key, list[float]]:
    """(owner, bucket) → the value at each of `shares`, in the order of time. Without `step` all is one bucket, 0.

    What has no points is left out, as is everything of a measure without a distribution.
    """
    return percentiles_of([measure], source, segments, shares, step)[0]


def percentiles_of(
    measures: Sequence[Measure],
    source: Source,
    segments: Sequence[Segment],
    shares: Iterable[float],
    step: int | None = None,
) -> list[dict[Key, list[float]]]:
    """The same of several measures in one reading, in their order."""
    kinds = [measure.distribution for measure in measures if measure.distribution]
    spreads = iter(_spreads(source, segments, kinds, step))
    wanted = list(shares)
    return [_shown(measure, next(spreads), wanted) if measure.distribution else {} for measure in measures]


def _shown(measure: Measure, spreads: Spreads, shares: Sequence[float]) -> dict[Key, list[float]]:
    kind = measure.distribution
    if kind is None:
        return {}
    found = ((key, spreads[key].at(shares, kind.scale)) for key in sorted(spreads))
    return {key: [measure.shown(value * kind.unit) for value in values] for key, values in found if values}


def _spreads(
    source: Source, segments: Sequence[Segment], kinds: Sequence[Distribution], step: int | None
) -> list[Spreads]:
    """Of each kind."""
    found: list[Spreads] = [{} for _ in kinds]
    for segment in segments if kinds else ():
        for rows in _rows(_query(source, segment, kinds, step)):
            for number, kind in enumerate(kinds):
                _add(found[number], kind, rows, 2 + 3 * number, is_raw=segment.tier is RAW)
    return found


def _add(spreads: Spreads, kind: Distribution, rows: Sequence[Row], column: int, *, is_raw: bool) -> None:
    """Written for speed: there may be a hundred thousand rows. `column` is the first of the three of this kind."""
    for row in rows:
        stored, low, high = row[column : column + 3]
        if stored is None:
            continue
        key = row[:2]
        spread = spreads.get(key)
        if spread is None:
            spread = spreads[key] = Spread(low, high)
        else:
            spread.note(low, high)
        # Recorded points have no histogram yet.
        spread.histograms.append(histogram.encode({kind.scale.bin_of(float(stored)): 1}) if is_raw else stored)


def _query(source: Source, segment: Segment, kinds: Sequence[Distribution], step: int | None) -> Sql:
    columns = [
        column
        for kind in kinds
        for column in (kind.value if segment.tier is RAW else kind.histogram, kind.low, kind.high)
    ]
    bucket = "0" if step is None else f"timestamp - timestamp %% {step}"
    rows, values = source.rows(segment)
    return f"SELECT {source.owner}, {bucket}, {', '.join(columns)} {rows}", values


def _rows(query: Sql) -> Iterator[list[tuple[Any, ...]]]:
    with replica.connection_to_read().cursor() as cursor:
        cursor.execute(*query)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield rows
