"""A chart that goes on: the points it begins with, then each that is new or has grown.

A bucket is not over before the next one has a row, so its point is given again whenever it has grown; a chart puts
points with a known time in the place of the old ones. That is also why nothing is lost or doubled when somebody
comes back and asks for everything from the newest point known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from . import series
from .measures import Source
from .series import Chosen, Plan

Row = tuple[float | None, ...]  # one value for each measure and aggregate
LivePoints = dict[str, dict[str, list[tuple[int, float | None]]]]  # as Series, None where nothing is known


class LiveSeries:
    """The series of one program or host. `asked` is the whole chart; `since` the newest point that is known."""

    def __init__(self, source: Source, owner: int, asked: Plan, chosen: Chosen, since: int | None = None) -> None:
        self._source, self._owner, self._asked, self._chosen = source, owner, asked, chosen
        self._columns = [(name, aggregate) for name in chosen for aggregate in chosen[name]]
        self._from = asked.start if since is None else max(asked.start, self._floor(min(since, asked.end - 1)))
        self._is_begun = since is not None
        self._known: dict[int, Row] = {}

    @property
    def start(self) -> int:
        """From when on the next reading tells everything."""
        return self._from

    def read(self, now: int) -> LivePoints | None:
        """What is new up to `now`; None when nothing is. Blocks; two queries, more for percentiles."""
        rows = self._rows(now)
        news = {time: row for time, row in rows.items() if self._known.get(time) != row}
        if rows:
            self._from, self._is_begun = max(rows), True
            self._known = {self._from: rows[self._from]}
        return self._points(news) if news else None

    def _rows(self, now: int) -> dict[int, Row]:
        """By time, also for what lies empty between what was known and the newest."""
        # A clock that was set back must not make the chart wait until that time comes again.
        start = max(min(self._from, self._floor(now - 1)), self._floor(now - self._asked.length))
        asked = replace(self._asked, start=start, end=now)
        found = series.series(self._source, asked, self._chosen, now).get(self._owner)
        if found is None:
            return {}
        columns = [{int(at): value for at, value in found[name][aggregate]} for name, aggregate in self._columns]
        times = set().union(*columns)
        first = start if self._is_begun else min(times)
        return {
            time: tuple(column.get(time) for column in columns)
            for time in range(first, max(times) + 1, self._asked.step)
        }

    def _points(self, rows: Mapping[int, Row]) -> LivePoints:
        points: LivePoints = {name: {} for name in self._chosen}
        for index, (name, aggregate) in enumerate(self._columns):
            points[name][aggregate] = [(time, row[index]) for time, row in rows.items()]
        return points

    def empty(self) -> LivePoints:
        return self._points({})

    def _floor(self, moment: int) -> int:
        return moment - moment % self._asked.step
