"""The worker: the job that sends. It records results and claims due deliveries in one transaction, sends, repeats.

The pump queues it. It runs while there is something to send, stops claiming after CLAIM_SECONDS and then waits for
the requests in flight. The next worker may already run by then: leases keep the two apart.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog
from django.db import DatabaseError, close_old_connections, connection, transaction
from django.utils import timezone

from core import doorbell
from core.http import Client
from webhooks.delivery import job_locks, send_slots
from webhooks.delivery.send_slots import InFlightMessage, Lease, SendQueue
from webhooks.outbox import writer

from .attempt import AttemptOutcome, deliver
from .claims import Claimer, DeliveryBatch, PayloadCache, split_bundles
from .results import record, release_expired_leases

log = structlog.get_logger(__name__)
T = TypeVar("T")

CLAIM_SECONDS = 20.0  # plus the longest timeout (30 s) and recording: below the 60 s of a queue job
GIVE_UP_SECONDS = 56.0
MAX_IN_FLIGHT = {SendQueue.REGULAR: 256, SendQueue.SUSPECT: 1}
IDLE_TIME = timedelta(seconds=1)  # stay that long for the next delivery: queuing a new job costs more
CHECK_SECONDS = 1.0
MIN_WAIT = 0.005  # collects a few responses for one transaction
EMPTY_WAIT = 0.05
LEASE_CHECK_INTERVAL = timedelta(seconds=1)
DATABASE_RETRY_SECONDS = 0.5


@dataclass
class ClaimResult:
    """`next_check`: seconds until the next claim. `keep_claiming`: False makes the worker stop."""

    batches: list[DeliveryBatch] = field(default_factory=list)
    next_check: float = CHECK_SECONDS
    keep_claiming: bool = True


class DeliveryStore:
    """The worker's database access, in one thread of its own. Every method is one short transaction."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._holder = secrets.token_hex(8)
        self._claimer = Claimer(queue)
        self._payloads = PayloadCache()
        self._other_leases: list[Lease] = []
        self._leases_checked_at = datetime.min.replace(tzinfo=UTC)

    def acquire_lock(self) -> bool:
        close_old_connections()
        with transaction.atomic():
            return job_locks.acquire(self._queue, self._holder, timezone.now())

    def record_and_claim(
        self, outcomes: list[AttemptOutcome], in_flight: list[DeliveryBatch], time_is_up: bool
    ) -> ClaimResult:
        now = timezone.now()
        with transaction.atomic():
            if outcomes:
                record(outcomes, now)
            is_ours = job_locks.renew(self._queue, self._holder, now)
            result = (
                self._claim(in_flight, now) if is_ours and not time_is_up else ClaimResult(keep_claiming=False)
            )
            self._payloads.attach_bodies(result.batches)
            split_bundles(result.batches, now)
            if not result.keep_claiming:
                self._claimer.save_pacing(now)
                # In this transaction: an event is either seen by this claim or finds the lock free for a new job.
                job_locks.release(self._queue, self._holder)
        return result

    def _claim(self, in_flight: list[DeliveryBatch], now: datetime) -> ClaimResult:
        room = MAX_IN_FLIGHT[SendQueue(self._queue)] - len(in_flight)
        # Still renews the lock and records results.
        if room <= 0:
            return ClaimResult()
        messages = [batch.message for batch in in_flight]
        self._check_leases(messages, now)
        endpoints = send_slots.pending_endpoints(self._queue)
        self._claimer.apply_pacing(endpoints)
        counts = send_slots.count_in_flight(self._other_leases, messages)
        slots = send_slots.send_slots(endpoints, counts, now)
        batches = self._claimer.claim(slots, room, now)
        next_at = min(self._claimer.next_ready_at, *(s.at for s in slots if s.at > now), send_slots.NEVER) - now
        if batches or in_flight or next_at <= IDLE_TIME:
            return ClaimResult(batches, max(min(next_at.total_seconds(), CHECK_SECONDS), MIN_WAIT))
        # Something is due but could not be claimed: it has just expired, or another worker has locked it.
        return ClaimResult(next_check=EMPTY_WAIT, keep_claiming=any(s.at <= now for s in slots))

    def _check_leases(self, own: list[InFlightMessage], now: datetime) -> None:
        # Once a second is enough: there is rarely another worker, and crashed ones are not urgent.
        if timedelta() <= now - self._leases_checked_at < LEASE_CHECK_INTERVAL:
            return
        self._leases_checked_at = now
        ours = {delivery for _, deliveries in own for delivery in deliveries}
        release_expired_leases(now, ours)
        self._other_leases = [lease for lease in send_slots.active_leases(now) if lease[1] not in ours]

    def record(self, outcomes: list[AttemptOutcome]) -> None:
        with transaction.atomic():
            record(outcomes, timezone.now())

    def close(self) -> None:
        connection.close()


class DeliveryWorker:
    """One run of the job, in one event loop."""

    def __init__(self, queue: str, client: Client, store: DeliveryStore) -> None:
        self._queue = queue
        self._client = client
        self._store = store
        # One thread: database connections are bound to threads, and SQLite has a single writer.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="webhooks")
        self._in_flight: dict[asyncio.Task[AttemptOutcome], DeliveryBatch] = {}
        self._outcomes: list[AttemptOutcome] = []  # not recorded yet
        self._wakeup = asyncio.Event()
        self._started = time.monotonic()

    async def run(self) -> None:
        try:
            if await self._in_database(self._store.acquire_lock):
                async with doorbell.listen(job_locks.wakeup_channel(self._queue)) as self._wakeup:
                    await self._claim_and_send()
                # The pump queues the next worker while this one waits for its last responses.
                doorbell.ring(writer.WAKEUP_CHANNEL)
                await self._finish_in_flight()
        finally:
            # Waits for the database thread without blocking the event loop.
            await asyncio.to_thread(self._shut_down)

    def _shut_down(self) -> None:
        self._thread.submit(self._store.close)
        self._thread.shutdown(wait=True)

    async def _claim_and_send(self) -> None:
        while True:
            self._wakeup.clear()
            outcomes, self._outcomes = self._outcomes, []
            time_is_up = self._age() > CLAIM_SECONDS
            in_flight = list(self._in_flight.values())
            result = await self._in_database(
                partial(self._store.record_and_claim, outcomes, in_flight, time_is_up)
            )
            for batch in result.batches:
                self._send(batch)
            if not result.keep_claiming:
                return
            await doorbell.wait(self._wakeup, result.next_check)
            # Collects further responses for the next transaction.
            await asyncio.sleep(MIN_WAIT if len(self._in_flight) > 1 else 0)

    def _send(self, batch: DeliveryBatch) -> None:
        # Its event was deleted after the claim.
        if not batch.bodies:
            return
        task = asyncio.create_task(deliver(batch, self._client))
        self._in_flight[task] = batch
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[AttemptOutcome]) -> None:
        del self._in_flight[task]
        if not task.cancelled():
            self._outcomes.append(task.result())
        self._wakeup.set()

    async def _finish_in_flight(self) -> None:
        while self._in_flight or self._outcomes:
            if self._in_flight and not self._outcomes:
                await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.sleep(MIN_WAIT)
            outcomes, self._outcomes = self._outcomes, []
            if outcomes:
                await self._in_database(partial(self._store.record, outcomes))
                doorbell.ring(writer.WAKEUP_CHANNEL)  # the endpoint may take more now

    def _age(self) -> float:
        return time.monotonic() - self._started

    async def _in_database(self, action: Callable[[], T]) -> T:
        """Retries while the database is unavailable: responses received by then must not be lost."""
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, action)
            except DatabaseError as error:
                if self._age() > GIVE_UP_SECONDS - DATABASE_RETRY_SECONDS:
                    raise
                log.warning("webhooks.no_database", error=str(error))
                await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
                await asyncio.sleep(DATABASE_RETRY_SECONDS)


async def drain(queue: str) -> None:
    async with Client() as client:
        await DeliveryWorker(queue, client, DeliveryStore(queue)).run()
