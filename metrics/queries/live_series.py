"""Live series of a chart: first its points, then each point that is new or has changed.

The newest bucket still grows, so its point is sent again whenever it changes; a chart replaces points by
timestamp. For the same reason a client that reconnects with its newest timestamp neither misses nor duplicates a
point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from . import series
from .measures import RowSource
from .series import AggregateSelection, SeriesPlan

PointValues = tuple[float | None, ...]  # one value per measure and aggregate
LivePoints = dict[str, dict[str, list[tuple[int, float | None]]]]  # like Series, but None in a gap


class LiveSeries:
    """The live series of one program or host. `since` is the newest timestamp that the client has."""

    def __init__(
        self,
        source: RowSource,
        owner: int,
        plan: SeriesPlan,
        selection: AggregateSelection,
        since: int | None = None,
    ) -> None:
        self._source, self._owner, self._plan, self._selection = source, owner, plan, selection
        self._columns = [(name, aggregate) for name in selection for aggregate in selection[name]]
        self._from = plan.start if since is None else max(plan.start, self._floor(min(since, plan.end - 1)))
        self._is_begun = since is not None
        self._known: dict[int, PointValues] = {}

    @property
    def start(self) -> int:
        return self._from

    def read(self, now: int) -> LivePoints | None:
        """New and changed points up to `now`, or None. Blocks; two queries, more for percentiles."""
        rows = self._rows(now)
        changes = {time: row for time, row in rows.items() if self._known.get(time) != row}
        if rows:
            self._from, self._is_begun = max(rows), True
            self._known = {self._from: rows[self._from]}
        return self._points(changes) if changes else None

    def _rows(self, now: int) -> dict[int, PointValues]:
        # If the clock was set back, start before `now` instead of waiting until it catches up.
        start = max(min(self._from, self._floor(now - 1)), self._floor(now - self._plan.length))
        plan = replace(self._plan, start=start, end=now)
        found = series.read_series(self._source, plan, self._selection, now).get(self._owner)
        if found is None:
            return {}
        columns = [{int(at): value for at, value in found[name][aggregate]} for name, aggregate in self._columns]
        times = set().union(*columns)
        first = start if self._is_begun else min(times)
        return {
            time: tuple(column.get(time) for column in columns)
            for time in range(first, max(times) + 1, self._plan.step)
        }

    def _points(self, rows: Mapping[int, PointValues]) -> LivePoints:
        points: LivePoints = {name: {} for name in self._selection}
        for index, (name, aggregate) in enumerate(self._columns):
            points[name][aggregate] = [(time, row[index]) for time, row in rows.items()]
        return points

    def empty(self) -> LivePoints:
        return self._points({})

    def _floor(self, time_: int) -> int:
        return time_ - time_ % self._plan.step
