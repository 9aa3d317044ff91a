"""The pump queues one job when a delivery is due, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone
from django_q.models import OrmQ

from core import doorbell
from webhooks.delivery import job_locks, pump
from webhooks.delivery.send_slots import SendQueue, next_send_at
from webhooks.models import JobTicket, WebhookDelivery, WebhookEndpoint
from webhooks.tests.rig import endpoint, record_event

pytestmark = pytest.mark.usefixtures("outbox")


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Callable[..., float]:
    """Runs a check of one pump, at a time so many seconds from now."""
    monkeypatch.setattr(pump, "PRUNE_SECONDS", None)
    one = pump.Pump()
    return lambda seconds=0.0: one.check(timezone.now() + timedelta(seconds=seconds))


def queued() -> list[tuple[str, tuple[str, ...]]]:
    return [(row.task["func"], row.task["args"]) for row in OrmQ.objects.order_by("pk")]


DRAIN = ("webhooks.tasks.drain", ("regular",))


def test_nothing_is_queued_without_deliveries(check: Any) -> None:
    endpoint()
    assert check() == pump.CHECK_SECONDS
    assert queued() == []


def test_an_idle_check_takes_one_query_for_each_queue_and_one_for_mutes(
    check: Any, django_assert_num_queries: Any
) -> None:
    endpoint()
    with django_assert_num_queries(len(SendQueue) + 1):
        check()


def test_repeated_checks_queue_one_job(check: Any) -> None:
    endpoint()
    record_event("agent.started")
    for seconds in (0, 1, 4, 6, 60, 3600):
        check(seconds)
    assert queued() == [DRAIN]


def test_a_fetched_job_that_never_started_is_queued_again(check: Any) -> None:
    endpoint()
    record_event("agent.started")
    check()
    OrmQ.objects.update(lock=timezone.now() + timedelta(seconds=240))  # as django-q2 does when a worker takes it
    check(4)
    assert len(queued()) == 1, "it may still start"
    check(6)
    assert len(queued()) == 2


def test_a_running_job_is_woken_up_and_no_other_is_queued(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    endpoint()
    assert job_locks.acquire(SendQueue.REGULAR, "a worker", timezone.now())
    record_event("agent.started")
    monkeypatch.setattr(doorbell, "ring", rung.append)
    check()
    assert (queued(), rung) == ([], ["job-regular"])
    check(5)
    assert queued() == [DRAIN], "its lock expired after four seconds"


def test_only_one_job_of_a_queue_can_run() -> None:
    now = timezone.now()
    assert job_locks.acquire(SendQueue.REGULAR, "first", now)
    assert not job_locks.acquire(SendQueue.REGULAR, "second", now)
    assert job_locks.acquire(SendQueue.SUSPECT, "third", now)
    assert job_locks.renew(SendQueue.REGULAR, "first", now)
    job_locks.release(SendQueue.REGULAR, "second")
    assert job_locks.is_held(SendQueue.REGULAR, now)
    job_locks.release(SendQueue.REGULAR, "first")
    assert job_locks.acquire(SendQueue.REGULAR, "second", now)
    assert not job_locks.renew(SendQueue.REGULAR, "first", now)


def test_suspect_deliveries_get_their_own_job(check: Any) -> None:
    endpoint()
    record_event("agent.started")
    WebhookDelivery.objects.update(crash_count=1)
    check()
    assert queued() == [("webhooks.tasks.drain", ("suspect",))]


def due_in(seconds: float, **columns: Any) -> None:
    at = timezone.now() + timedelta(seconds=seconds)
    WebhookDelivery.objects.update(next_attempt_at=at)
    WebhookEndpoint.objects.update(**{name: timezone.now() + timedelta(seconds=v) for name, v in columns.items()})


@pytest.mark.parametrize(
    ("delivery", "columns", "expected"),
    [(0.3, {}, 0.3), (-9, {"paused_until": 0.5}, 0.5), (-9, {"paced_until": 0.4}, 0.3), (600, {}, 1.0)],
)
def test_the_next_check_is_when_the_next_delivery_is_due(
    check: Any, delivery: float, columns: dict[str, float], expected: float
) -> None:
    endpoint(rate_per_second=10)
    record_event("agent.started")
    due_in(delivery, **columns)
    assert check() == pytest.approx(expected, abs=0.15)
    assert queued() == []


def test_an_endpoint_at_its_concurrency_limit_queues_nothing(check: Any) -> None:
    endpoint(max_concurrency=1)
    for _ in range(2):
        record_event("agent.started")
    until = timezone.now() + timedelta(seconds=20)
    first = WebhookDelivery.objects.earliest("event__seq")
    WebhookDelivery.objects.filter(pk=first.pk).update(lease_until=until, next_attempt_at=until)
    check()
    assert queued() == []
    assert next_send_at(SendQueue.REGULAR, timezone.now()) == until


def test_deliveries_of_a_crashed_worker_are_due_when_the_lease_ends(check: Any) -> None:
    endpoint()
    record_event("agent.started")
    past = timezone.now() - timedelta(seconds=1)
    WebhookDelivery.objects.update(lease_until=past, next_attempt_at=past)
    check()
    assert queued() == [DRAIN]


def test_deadman_pings_are_queued_at_their_interval_if_there_is_a_url(check: Any, settings: Any) -> None:
    settings.DEADMAN_URL, settings.DEADMAN_SECONDS = "http://127.0.0.1:9/ping", 60.0
    check()
    check(59)
    assert queued() == [("webhooks.tasks.deadman", ())]
    OrmQ.objects.all().delete()
    check(61)
    assert queued() == [("webhooks.tasks.deadman", ())]


def test_a_queued_deadman_ping_is_not_queued_twice(check: Any, settings: Any) -> None:
    settings.DEADMAN_URL, settings.DEADMAN_SECONDS = "http://127.0.0.1:9/ping", 60.0
    for seconds in (0, 61, 122, 183):
        check(seconds)
    assert len(queued()) == 1


async def test_a_doorbell_triggers_a_check_and_stop_ends_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[datetime] = []

    def check(self: pump.Pump, now: datetime) -> float:
        checks.append(now)
        return 3600.0

    monkeypatch.setattr(pump.Pump, "check", check)
    stop = asyncio.Event()
    running = asyncio.create_task(pump.Pump().run(stop))
    for count in (1, 2, 3):
        async with asyncio.timeout(60):
            while len(checks) < count:
                await asyncio.sleep(0.01)
        doorbell.ring("outbox")
    stop.set()
    async with asyncio.timeout(60):
        await running


async def test_it_survives_an_unavailable_database(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = 0

    def fail(self: pump.Pump, now: datetime) -> float:
        nonlocal checks
        checks += 1
        raise OperationalError("unable to open database file")

    monkeypatch.setattr(pump.Pump, "check", fail)
    monkeypatch.setattr(pump, "CHECK_SECONDS", 0.01)
    stop = asyncio.Event()
    running = asyncio.create_task(pump.Pump().run(stop))
    async with asyncio.timeout(60):
        while checks < 3:
            await asyncio.sleep(0.01)
    stop.set()
    await running


def test_a_job_is_queued_once_and_its_queue_row_is_stored() -> None:
    now = timezone.now()
    assert job_locks.queue_once("regular", "webhooks.tasks.drain", now, "regular")
    assert not job_locks.queue_once("regular", "webhooks.tasks.drain", now, "regular")
    ticket = JobTicket.objects.get()
    assert ticket.queue_row == OrmQ.objects.get().pk


def test_a_clock_set_back_delays_neither_deliveries_nor_jobs(check: Any) -> None:
    endpoint()
    record_event("agent.started")
    now = timezone.now()
    WebhookDelivery.objects.update(next_attempt_at=now + timedelta(seconds=30))
    assert job_locks.acquire(SendQueue.REGULAR, "a crashed worker", now)
    check()
    check(-3600)
    waits = WebhookDelivery.objects.get().next_attempt_at
    assert waits is not None and abs(waits - now + timedelta(seconds=3570)) < timedelta(seconds=2)
    check(-3565)
    assert queued() == [DRAIN]


def test_a_queued_job_can_be_fetched_after_the_clock_was_set_back(check: Any) -> None:
    endpoint()
    record_event("agent.started")
    check()
    check(-3600)
    assert OrmQ.objects.filter(lock__lte=timezone.now() - timedelta(minutes=59)).exists()
    check(-3590)
    assert queued() == [DRAIN], "it is still in the queue"


def test_small_corrections_and_a_clock_set_forward_change_nothing(check: Any) -> None:
    endpoint()
    record_event("agent.started")
    at = timezone.now() + timedelta(hours=2)
    WebhookDelivery.objects.update(next_attempt_at=at)
    for seconds in (0, -3, 3600):
        check(seconds)
    assert WebhookDelivery.objects.get().next_attempt_at == at
