"""The chart websockets `/ws/programs/{id}/metrics/` and `/ws/metrics/host/`. Messages: docs/api.md."""

# Channels has no type hints.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Literal, TypedDict

import orjson
from channels.db import database_sync_to_async
from django.conf import settings
from django.core.exceptions import ValidationError
from django.urls import path

from programs.consumers import BAD_QUERY, NOT_FOUND, ProgramSocket, RefusedError, Socket
from programs.models import Host

from .queries import series
from .queries.live_series import LivePoints, LiveSeries
from .queries.measures import HostSource, ProgramSource, RowSource
from .queries.series import SeriesPlan
from .schemas import LiveHostSeriesQuery, LiveSeriesQuery, split_list

MAX_POLL_SECONDS = 10.0


class HistoryMessage(TypedDict):
    """Replaces all points from `start` on. `tier` is the coarsest tier that was read."""

    type: Literal["history"]
    step: int
    tier: str
    start: int
    series: LivePoints


class PointsMessage(TypedDict):
    """Each point replaces the one with its timestamp, or is added."""

    type: Literal["points"]
    series: LivePoints


class ChartSocket(Socket):
    """Sends the chart's points, then new and changed points as they are recorded."""

    plan: SeriesPlan
    points: LiveSeries

    def subscribe(self, source: RowSource, owner: int, query: LiveSeriesQuery) -> None:
        """Validates the query and prepares the live series. Raises RefusedError."""
        now = _now()
        names = split_list(query.metrics) or list(source.measures)
        try:
            selection = series.select_aggregates(source.measures, names, split_list(query.aggregates))
            start = now - max(1, round(query.hours * 3600))
            self.plan = series.plan_series(start, now, step=query.step_seconds, now=now)
        except ValidationError:
            raise RefusedError(BAD_QUERY) from None
        since = None if query.since is None else int(query.since.timestamp())
        self.points = LiveSeries(source, owner, self.plan, selection, since)

    async def messages(self) -> AsyncGenerator[str, None]:
        start = self.points.start
        history: HistoryMessage = {
            "type": "history",
            "step": self.plan.step,
            "tier": self.plan.tier.name,
            "start": start,
            "series": await self._read() or self.points.empty(),
        }
        yield orjson.dumps(history).decode()
        while True:
            await asyncio.sleep(self.poll_seconds(self.plan.step))
            if changes := await self._read():
                message: PointsMessage = {"type": "points", "series": changes}
                yield orjson.dumps(message).decode()

    @staticmethod
    def poll_seconds(step: int) -> float:
        # The newest point changes with each sample, and not more often.
        return min(MAX_POLL_SECONDS, max(settings.SAMPLE_SECONDS, step / 5))

    async def _read(self) -> LivePoints | None:
        found: LivePoints | None = await database_sync_to_async(self.points.read)(_now())
        return found


class ProgramChartSocket(ChartSocket, ProgramSocket):
    def prepare(self) -> None:
        query = self.query_as(LiveSeriesQuery)
        super().prepare()
        self.subscribe(ProgramSource([self.program.pk]), self.program.pk, query)


class HostChartSocket(ChartSocket):
    async def authorize(self) -> None:
        await super().authorize()
        await database_sync_to_async(self.prepare)()

    def prepare(self) -> None:
        query = self.query_as(LiveHostSeriesQuery)
        hosts = Host.objects.filter(name=query.host) if query.host else Host.objects.filter(is_default=True)
        host_id = hosts.values_list("pk", flat=True).first()
        if host_id is None:
            raise RefusedError(NOT_FOUND)
        self.subscribe(HostSource(host_id), host_id, query)


def _now() -> int:
    # The next full second, so that rows of the current second are included.
    return int(time.time()) + 1


routes = [
    path("ws/programs/<int:program_id>/metrics/", ProgramChartSocket.as_asgi()),
    path("ws/metrics/host/", HostChartSocket.as_asgi()),
]
