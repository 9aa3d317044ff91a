"""The agent's part: it looks when something is to be sent and queues the job that does it. It sends nothing.

Woken by the outbox's doorbell, and looking once a second anyway: a lost job, a wedged cluster or a killed worker
delays a delivery, and loses none.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone

from core import doorbell
from webhooks.outbox import writer

from . import job_locks, send_slots
from .send_slots import Lane, next_moment

log = structlog.get_logger(__name__)
LOOK_SECONDS = 1.0
PRUNE_SECONDS = 3600.0
SHORTEST_WAIT = 0.01
CLOCK_SLACK = timedelta(seconds=5)  # clocks are corrected all the time, by less


class Pump:
    """A service of the agent. `look(now)` does what is due and says how long there is nothing to do."""

    def __init__(self) -> None:
        self._asked: dict[str, datetime] = {}
        self._clock: datetime | None = None  # what the clock showed when the monotonic one stood at zero
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")

    async def run(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.create_task(stop.wait())
        try:
            async with doorbell.listen(writer.BELL) as rung:
                while not stop.is_set():
                    rung.clear()
                    pause = await loop.run_in_executor(self._thread, self._look_safely)
                    waiting = asyncio.create_task(rung.wait())
                    await asyncio.wait({waiting, stopping}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
        finally:
            stopping.cancel()
            await loop.run_in_executor(self._thread, _disconnect)
            self._thread.shutdown()

    def _look_safely(self) -> float:
        close_old_connections()
        try:
            return self.look(timezone.now())
        except DatabaseError as error:
            log.warning("webhooks.no_database", error=str(error))
            connection.close()
            return LOOK_SECONDS

    def look(self, now: datetime) -> float:
        """Queues what is due; seconds until the next look."""
        self._notice_clock(now)
        self._now_and_then("deadman", _deadman_seconds(), now)
        self._now_and_then("prune", PRUNE_SECONDS, now)
        pauses = [self._look_at(lane, now) for lane in Lane]
        return max(SHORTEST_WAIT, min(LOOK_SECONDS, *pauses))

    def _notice_clock(self, now: datetime) -> None:
        """Where the clock was set back by an hour, what waits would wait an hour more, and so would leases.

        Forward is no trouble: what comes early comes all the same, and a machine that slept has really slept.
        """
        clock = now - timedelta(seconds=time.monotonic())
        back = self._clock - clock if self._clock else timedelta()
        if back > CLOCK_SLACK:
            log.warning("webhooks.clock_set_back", seconds=round(back.total_seconds(), 1))
            send_slots.bring_forward(back)
        self._clock = clock

    def _look_at(self, lane: str, now: datetime) -> float:
        soonest = next_moment(lane, now)
        if soonest is None:
            return LOOK_SECONDS
        if soonest > now:
            return (soonest - now).total_seconds()
        if job_locks.is_held(lane, now):
            doorbell.ring(job_locks.bell(lane))
        else:
            job_locks.queue_once(lane, "webhooks.tasks.drain", now, lane)
        return LOOK_SECONDS

    def _now_and_then(self, job: str, every: float | None, now: datetime) -> None:
        if every is None or (
            job in self._asked and timedelta() <= now - self._asked[job] < timedelta(seconds=every)
        ):
            return
        self._asked[job] = now
        job_locks.queue_once(job, f"webhooks.tasks.{job}", now)


def _disconnect() -> None:
    """`connection` is another one in each thread: it must be looked up in the one that used it."""
    connection.close()


def _deadman_seconds() -> float | None:
    """How often to ping; None when there is no URL to ping."""
    return max(1.0, settings.DEADMAN_SECONDS) if settings.DEADMAN_URL else None
