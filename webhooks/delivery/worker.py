"""The job: rounds of one transaction each (write down what came, claim what is due), sending in between.

It begins when the pump has queued it, goes on while there is something to send, claims nothing new when its time
is up, and waits for what is still under way. Another drain may be at work by then: leases keep them apart.
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
from webhooks.delivery.send_slots import Lane, Lease, Message
from webhooks.outbox import writer

from .attempt import Outcome, deliver
from .claims import Batch, Bodies, Claimer
from .results import reap, record

log = structlog.get_logger(__name__)
T = TypeVar("T")

CLAIM_SECONDS = 20.0  # with the longest timeout (30 s) and the writing it stays below a job's 60 s
END_SECONDS = 56.0
MOST_IN_FLIGHT = {Lane.REGULAR: 256, Lane.SUSPECT: 1}
LINGER = timedelta(seconds=1)  # rather than end and be queued again at once
LOOK_SECONDS = 1.0
SHORTEST_WAIT = 0.005  # lets a few answers come together, so that a transaction is worth it
EMPTY_WAIT = 0.05
LEASES_EVERY = timedelta(seconds=1)
DATABASE_RETRY_SECONDS = 0.5


@dataclass
class Round:
    """What a transaction brought: parcels to send, when to look again (seconds), whether to go on claiming."""

    batches: list[Batch] = field(default_factory=list)
    look_in: float = LOOK_SECONDS
    claims: bool = True


class DeliveryStore:
    """The database's side, in one thread of its own. Every method is one short transaction."""

    def __init__(self, lane: str) -> None:
        self._lane = lane
        self._holder = secrets.token_hex(8)
        self._claimer = Claimer(lane)
        self._bodies = Bodies()
        self._foreign: list[Lease] = []
        self._looked_at = datetime.min.replace(tzinfo=UTC)

    def begin(self) -> bool:
        close_old_connections()
        with transaction.atomic():
            return job_locks.take(self._lane, self._holder, timezone.now())

    def turn(self, outcomes: list[Outcome], in_flight: list[Batch], time_is_up: bool) -> Round:
        """Writes, then claims. With nothing to do it gives the ticket back in the same transaction, so an event
        is either seen here or finds the ticket free."""
        now = timezone.now()
        with transaction.atomic():
            if outcomes:
                record(outcomes, now)
            is_ours = job_locks.renew(self._lane, self._holder, now)
            found = self._claim(in_flight, now) if is_ours and not time_is_up else Round(claims=False)
            self._bodies.put_into(found.batches)
            if not found.claims:
                self._claimer.note_pace(now)
                job_locks.give_back(self._lane, self._holder)
        return found

    def _claim(self, in_flight: list[Batch], now: datetime) -> Round:
        room = MOST_IN_FLIGHT[Lane(self._lane)] - len(in_flight)
        if room <= 0:
            return Round()
        messages = [batch.message for batch in in_flight]
        self._look_at_leases(messages, now)
        endpoints = send_slots.waiting(self._lane)
        self._claimer.recall_pace(endpoints)
        openings = send_slots.openings(endpoints, send_slots.flights(self._foreign, messages), now)
        batches = self._claimer.claim(openings, room, now)
        soonest = min(self._claimer.ready_again, *(o.at for o in openings if o.at > now), send_slots.FAR) - now
        if batches or in_flight or soonest <= LINGER:
            return Round(batches, max(min(soonest.total_seconds(), LOOK_SECONDS), SHORTEST_WAIT))
        # What is due and yet was not to be had: expired, or in somebody else's hands for a moment.
        return Round(look_in=EMPTY_WAIT, claims=any(o.at <= now for o in openings))

    def _look_at_leases(self, own: list[Message], now: datetime) -> None:
        """Now and then is enough: others seldom hold any, and dead senders' are not urgent."""
        if timedelta() <= now - self._looked_at < LEASES_EVERY:
            return
        self._looked_at = now
        ours = {delivery for _, deliveries in own for delivery in deliveries}
        reap(now, ours)
        self._foreign = [lease for lease in send_slots.leases(now) if lease[1] not in ours]

    def write(self, outcomes: list[Outcome]) -> None:
        with transaction.atomic():
            record(outcomes, timezone.now())

    def close(self) -> None:
        connection.close()


class Drain:
    """One run of the job, in one event loop."""

    def __init__(self, lane: str, client: Client, books: DeliveryStore) -> None:
        self._lane = lane
        self._client = client
        self._books = books
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="webhooks")
        self._flying: dict[asyncio.Task[Outcome], Batch] = {}
        self._landed: list[Outcome] = []
        self._woken = asyncio.Event()
        self._started = time.monotonic()

    async def run(self) -> None:
        try:
            if await self._in_database(self._books.begin):
                async with doorbell.listen(job_locks.bell(self._lane)) as self._woken:
                    await self._claim_and_send()
                doorbell.ring(writer.BELL)
                await self._land()
        finally:
            await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        self._thread.submit(self._books.close)
        self._thread.shutdown(wait=True)

    async def _claim_and_send(self) -> None:
        while True:
            self._woken.clear()
            outcomes, self._landed = self._landed, []
            turn = partial(self._books.turn, outcomes, list(self._flying.values()), self._age() > CLAIM_SECONDS)
            found = await self._in_database(turn)
            for batch in found.batches:
                self._send(batch)
            if not found.claims:
                return
            await doorbell.wait(self._woken, found.look_in)
            await asyncio.sleep(SHORTEST_WAIT if len(self._flying) > 1 else 0)

    def _send(self, batch: Batch) -> None:
        if not batch.bodies:
            return
        task = asyncio.create_task(deliver(batch, self._client))
        self._flying[task] = batch
        task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[Outcome]) -> None:
        del self._flying[task]
        if not task.cancelled():
            self._landed.append(task.result())
        self._woken.set()

    async def _land(self) -> None:
        """Nothing new is claimed; what is under way comes to its end, and is written down as it does."""
        while self._flying or self._landed:
            if self._flying and not self._landed:
                await asyncio.wait(self._flying, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.sleep(SHORTEST_WAIT)
            outcomes, self._landed = self._landed, []
            if outcomes:
                await self._in_database(partial(self._books.write, outcomes))
                doorbell.ring(writer.BELL)  # places have become free

    def _age(self) -> float:
        return time.monotonic() - self._started

    async def _in_database(self, action: Callable[[], T]) -> T:
        """Tries again while the database is away: what was answered meanwhile is not to be lost."""
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, action)
            except DatabaseError as error:
                if self._age() > END_SECONDS - DATABASE_RETRY_SECONDS:
                    raise
                log.warning("webhooks.no_database", error=str(error))
                await asyncio.get_running_loop().run_in_executor(self._thread, self._books.close)
                await asyncio.sleep(DATABASE_RETRY_SECONDS)


async def drain(lane: str) -> None:
    async with Client() as client:
        await Drain(lane, client, DeliveryStore(lane)).run()
