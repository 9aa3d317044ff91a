"""The pump: a service of the agent that queues the sending job when a delivery is due. It sends nothing itself.

The outbox's doorbell wakes it up, and it checks once a second anyway: a lost job, a stuck cluster or a killed
worker delays deliveries but loses none.
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
from .send_slots import SendQueue, next_send_at

log = structlog.get_logger(__name__)
CHECK_SECONDS = 1.0
PRUNE_SECONDS = 3600.0
MIN_WAIT = 0.01
CLOCK_TOLERANCE = timedelta(seconds=5)  # time synchronization corrects clocks all the time, by less


class Pump:
    def __init__(self) -> None:
        self._queued_at: dict[str, datetime] = {}
        self._boot_time: datetime | None = None  # wall clock minus monotonic clock, to notice a clock set back
        self._released_at = -CHECK_SECONDS
        # One thread of its own: database connections are bound to threads.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")

    async def run(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.create_task(stop.wait())
        try:
            async with doorbell.listen(writer.WAKEUP_CHANNEL) as rung:
                while not stop.is_set():
                    # Before the check: a ring during the check must not be lost.
                    rung.clear()
                    pause = await loop.run_in_executor(self._thread, self._check_safely)
                    waiting = asyncio.create_task(rung.wait())
                    await asyncio.wait({waiting, stopping}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
        finally:
            stopping.cancel()
            await loop.run_in_executor(self._thread, _disconnect)
            self._thread.shutdown()

    def _check_safely(self) -> float:
        close_old_connections()
        try:
            return self.check(timezone.now())
        except DatabaseError as error:
            log.warning("webhooks.no_database", error=str(error))
            connection.close()
            return CHECK_SECONDS

    def check(self, now: datetime) -> float:
        """Queues the jobs that are due; returns the seconds until the next check."""
        self._handle_clock_change(now)
        self._release_withheld(now)
        self._queue_periodically("deadman", _deadman_seconds(), now)
        self._queue_periodically("prune", PRUNE_SECONDS, now)
        pauses = [self._check_queue(queue, now) for queue in SendQueue]
        return max(MIN_WAIT, min(CHECK_SECONDS, *pauses))

    def _handle_clock_change(self, now: datetime) -> None:
        """When the clock is set back by an hour, due times and leases would otherwise lie an hour further ahead.

        A clock set forward needs nothing: deliveries become due early, and after a suspend the time really passed.
        """
        boot_time = now - timedelta(seconds=time.monotonic())
        back = self._boot_time - boot_time if self._boot_time else timedelta()
        if back > CLOCK_TOLERANCE:
            log.warning("webhooks.clock_set_back", seconds=round(back.total_seconds(), 1))
            send_slots.shift_timestamps(back)
        self._boot_time = boot_time

    def _release_withheld(self, now: datetime) -> None:
        # Not with each doorbell: a mute ends only by time or by a person.
        if time.monotonic() - self._released_at < CHECK_SECONDS:
            return
        self._released_at = time.monotonic()
        if released := writer.release_withheld(now):
            log.info("webhooks.released_after_mute", deliveries=released)

    def _check_queue(self, queue: str, now: datetime) -> float:
        next_at = next_send_at(queue, now)
        if next_at is None:
            return CHECK_SECONDS
        if next_at > now:
            return (next_at - now).total_seconds()
        # A running worker may be waiting for its next check: wake it up.
        if job_locks.is_held(queue, now):
            doorbell.ring(job_locks.wakeup_channel(queue))
        else:
            job_locks.queue_once(queue, "webhooks.tasks.drain", now, queue)
        return CHECK_SECONDS

    def _queue_periodically(self, job: str, every: float | None, now: datetime) -> None:
        # A time in the future dates from before the clock was set back.
        if every is None or (
            job in self._queued_at and timedelta() <= now - self._queued_at[job] < timedelta(seconds=every)
        ):
            return
        self._queued_at[job] = now
        job_locks.queue_once(job, f"webhooks.tasks.{job}", now)


def _disconnect() -> None:
    # `connection` is thread-local: close the one of the thread that calls this.
    connection.close()


def _deadman_seconds() -> float | None:
    return max(1.0, settings.DEADMAN_SECONDS) if settings.DEADMAN_URL else None
