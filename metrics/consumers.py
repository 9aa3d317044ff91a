"""The websockets of charts: `/ws/programs/{id}/metrics/` and `/ws/metrics/host/`. What they send: docs/api.md."""

# Channels has no types for what a consumer inherits.
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
from .queries.measures import OneHost, Programs, Source
from .queries.series import Plan
from .schemas import LiveChart, LiveChartOfHost, words

LONGEST_PAUSE = 10.0


class HistoryMessage(TypedDict):
    """Takes the place of everything from `start` on. `tier` is the coarsest that was read."""

    type: Literal["history"]
    step: int
    tier: str
    start: int
    series: LivePoints


class PointsMessage(TypedDict):
    """Each takes the place of the one with its time, or comes in addition."""

    type: Literal["points"]
    series: LivePoints


class ChartSocket(Socket):
    """First the points to begin a chart with, then each as it is recorded."""

    asked: Plan
    points: LiveSeries

    def follow(self, source: Source, owner: int, query: LiveChart) -> None:
        """Settles what is sent. Raises RefusedError."""
        now = _now()
        names = words(query.metrics) or list(source.measures)
        try:
            chosen = series.choose(source.measures, names, words(query.aggregates))
            start = now - max(1, round(query.hours * 3600))
            self.asked = series.plan(start, now, step=query.step_seconds, now=now)
        except ValidationError:
            raise RefusedError(BAD_QUERY) from None
        since = None if query.since is None else int(query.since.timestamp())
        self.points = LiveSeries(source, owner, self.asked, chosen, since)

    async def messages(self) -> AsyncGenerator[str, None]:
        start = self.points.start
        history: HistoryMessage = {
            "type": "history",
            "step": self.asked.step,
            "tier": self.asked.tier.name,
            "start": start,
            "series": await self._read() or self.points.empty(),
        }
        yield orjson.dumps(history).decode()
        while True:
            await asyncio.sleep(self.pause(self.asked.step))
            if news := await self._read():
                message: PointsMessage = {"type": "points", "series": news}
                yield orjson.dumps(message).decode()

    @staticmethod
    def pause(step: int) -> float:
        """Seconds between two looks at a chart with such steps: its newest point grows with every sample."""
        return min(LONGEST_PAUSE, max(settings.SAMPLE_SECONDS, step / 5))

    async def _read(self) -> LivePoints | None:
        found: LivePoints | None = await database_sync_to_async(self.points.read)(_now())
        return found


class ProgramChartSocket(ChartSocket, ProgramSocket):
    def prepare(self) -> None:
        query = self.query_as(LiveChart)
        super().prepare()
        self.follow(Programs([self.program.pk]), self.program.pk, query)


class HostChartSocket(ChartSocket):
    async def authorize(self) -> None:
        await super().authorize()
        await database_sync_to_async(self.prepare)()

    def prepare(self) -> None:
        query = self.query_as(LiveChartOfHost)
        hosts = Host.objects.filter(name=query.host) if query.host else Host.objects.filter(is_default=True)
        host_id = hosts.values_list("pk", flat=True).first()
        if host_id is None:
            raise RefusedError(NOT_FOUND)
        self.follow(OneHost(host_id), host_id, query)


def _now() -> int:
    """The first second that has not begun, so that what was recorded in this one is in."""
    return int(time.time()) + 1


routes = [
    path("ws/programs/<int:program_id>/metrics/", ProgramChartSocket.as_asgi()),
    path("ws/metrics/host/", HostChartSocket.as_asgi()),
]
