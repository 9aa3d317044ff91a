"""The pump: it queues one job when something is due, and only then."""

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
from webhooks.delivery.send_slots import Lane, next_moment
from webhooks.models import JobTicket, WebhookDelivery, WebhookEndpoint
from webhooks.tests.rig import endpoint, happen

pytestmark = pytest.mark.usefixtures("outbox")


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., float]:
    """A look of one pump at its clock, so many seconds from now."""
    monkeypatch.setattr(pump, "PRUNE_SECONDS", None)
    one = pump.Pump()
    return lambda seconds=0.0: one.look(timezone.now() + timedelta(seconds=seconds))


def queued() -> list[tuple[str, tuple[str, ...]]]:
    return [(row.task["func"], row.task["args"]) for row in OrmQ.objects.order_by("pk")]


DRAIN = ("webhooks.tasks.drain", ("regular",))


def test_without_anything_to_send_nothing_is_queued(look: Any) -> None:
    endpoint()
    assert look() == pump.LOOK_SECONDS
    assert queued() == []


def test_without_anything_to_send_a_look_asks_once_for_each_lane(
    look: Any, django_assert_num_queries: Any
) -> None:
    endpoint()
    with django_assert_num_queries(len(Lane)):
        look()


def test_what_is_due_queues_one_job_however_often_it_looks(look: Any) -> None:
    endpoint()
    happen("agent.started")
    for seconds in (0, 1, 4, 6, 60, 3600):
        look(seconds)
    assert queued() == [DRAIN]


def test_a_job_that_was_fetched_and_never_began_is_queued_again(look: Any) -> None:
    endpoint()
    happen("agent.started")
    look()
    OrmQ.objects.update(lock=timezone.now() + timedelta(seconds=240))  # as django-q2 does when a worker takes it
    look(4)
    assert len(queued()) == 1, "it may still begin"
    look(6)
    assert len(queued()) == 2


def test_a_job_at_work_is_rung_and_no_other_is_queued(look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    endpoint()
    assert job_locks.take(Lane.REGULAR, "somebody", timezone.now())
    happen("agent.started")
    monkeypatch.setattr(doorbell, "ring", rung.append)
    look()
    assert (queued(), rung) == ([], ["job-regular"])
    look(5)
    assert queued() == [DRAIN], "it has not been heard of for four seconds"


def test_only_one_job_of_a_lane_can_be_at_work() -> None:
    now = timezone.now()
    assert job_locks.take(Lane.REGULAR, "first", now)
    assert not job_locks.take(Lane.REGULAR, "second", now)
    assert job_locks.take(Lane.SUSPECT, "third", now)
    assert job_locks.renew(Lane.REGULAR, "first", now)
    job_locks.give_back(Lane.REGULAR, "second")
    assert job_locks.is_held(Lane.REGULAR, now)
    job_locks.give_back(Lane.REGULAR, "first")
    assert job_locks.take(Lane.REGULAR, "second", now)
    assert not job_locks.renew(Lane.REGULAR, "first", now)


def test_suspects_get_a_job_of_their_own(look: Any) -> None:
    endpoint()
    happen("agent.started")
    WebhookDelivery.objects.update(crash_count=1)
    look()
    assert queued() == [("webhooks.tasks.drain", ("suspect",))]


def due_in(seconds: float, **columns: Any) -> None:
    at = timezone.now() + timedelta(seconds=seconds)
    WebhookDelivery.objects.update(next_attempt_at=at)
    WebhookEndpoint.objects.update(**{name: timezone.now() + timedelta(seconds=v) for name, v in columns.items()})


@pytest.mark.parametrize(
    ("delivery", "columns", "expected"),
    [(0.3, {}, 0.3), (-9, {"paused_until": 0.5}, 0.5), (-9, {"paced_until": 0.4}, 0.3), (600, {}, 1.0)],
)
def test_it_looks_again_when_the_next_one_is_due(
    look: Any, delivery: float, columns: dict[str, float], expected: float
) -> None:
    endpoint(rate_per_second=10)
    happen("agent.started")
    due_in(delivery, **columns)
    assert look() == pytest.approx(expected, abs=0.15)
    assert queued() == []


def test_endpoints_whose_places_are_all_taken_queue_nothing(look: Any) -> None:
    endpoint(max_concurrency=1)
    for _ in range(2):
        happen("agent.started")
    until = timezone.now() + timedelta(seconds=20)
    first = WebhookDelivery.objects.earliest("event__seq")
    WebhookDelivery.objects.filter(pk=first.pk).update(lease_until=until, next_attempt_at=until)
    look()
    assert queued() == []
    assert next_moment(Lane.REGULAR, timezone.now()) == until


def test_a_dead_senders_rows_are_due_when_their_lease_ends(look: Any) -> None:
    endpoint()
    happen("agent.started")
    past = timezone.now() - timedelta(seconds=1)
    WebhookDelivery.objects.update(lease_until=past, next_attempt_at=past)
    look()
    assert queued() == [DRAIN]


def test_a_sign_of_life_is_asked_for_now_and_then_when_there_is_a_url(look: Any, settings: Any) -> None:
    settings.DEADMAN_URL, settings.DEADMAN_SECONDS = "http://127.0.0.1:9/ping", 60.0
    look()
    look(59)
    assert queued() == [("webhooks.tasks.deadman", ())]
    OrmQ.objects.all().delete()
    look(61)
    assert queued() == [("webhooks.tasks.deadman", ())]


def test_a_sign_of_life_that_still_waits_is_not_asked_for_twice(look: Any, settings: Any) -> None:
    settings.DEADMAN_URL, settings.DEADMAN_SECONDS = "http://127.0.0.1:9/ping", 60.0
    for seconds in (0, 61, 122, 183):
        look(seconds)
    assert len(queued()) == 1


async def test_a_ring_makes_it_look_at_once_and_a_stop_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[datetime] = []

    def look(self: pump.Pump, now: datetime) -> float:
        looks.append(now)
        return 3600.0

    monkeypatch.setattr(pump.Pump, "look", look)
    stop = asyncio.Event()
    running = asyncio.create_task(pump.Pump().run(stop))
    for count in (1, 2, 3):
        async with asyncio.timeout(60):
            while len(looks) < count:
                await asyncio.sleep(0.01)
        doorbell.ring("outbox")
    stop.set()
    async with asyncio.timeout(60):
        await running


async def test_it_outlasts_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def fail(self: pump.Pump, now: datetime) -> float:
        nonlocal looks
        looks += 1
        raise OperationalError("unable to open database file")

    monkeypatch.setattr(pump.Pump, "look", fail)
    monkeypatch.setattr(pump, "LOOK_SECONDS", 0.01)
    stop = asyncio.Event()
    running = asyncio.create_task(pump.Pump().run(stop))
    async with asyncio.timeout(60):
        while looks < 3:
            await asyncio.sleep(0.01)
    stop.set()
    await running


def test_nothing_is_left_of_a_ticket_that_lost_the_race() -> None:
    now = timezone.now()
    assert job_locks.queue_once("regular", "webhooks.tasks.drain", now, "regular")
    assert not job_locks.queue_once("regular", "webhooks.tasks.drain", now, "regular")
    ticket = JobTicket.objects.get()
    assert ticket.queue_row == OrmQ.objects.get().pk


def test_a_clock_that_is_set_back_holds_up_neither_what_waits_nor_the_jobs(look: Any) -> None:
    endpoint()
    happen("agent.started")
    now = timezone.now()
    WebhookDelivery.objects.update(next_attempt_at=now + timedelta(seconds=30))
    assert job_locks.take(Lane.REGULAR, "somebody who died", now)
    look()
    look(-3600)
    waits = WebhookDelivery.objects.get().next_attempt_at
    assert waits is not None and abs(waits - now + timedelta(seconds=3570)) < timedelta(seconds=2)
    look(-3565)
    assert queued() == [DRAIN]


def test_a_queued_job_can_be_fetched_though_the_clock_was_set_back(look: Any) -> None:
    endpoint()
    happen("agent.started")
    look()
    look(-3600)
    assert OrmQ.objects.filter(lock__lte=timezone.now() - timedelta(minutes=59)).exists()
    look(-3590)
    assert queued() == [DRAIN], "it still waits in the queue"


def test_a_clock_that_is_corrected_by_little_or_set_forward_changes_nothing(look: Any) -> None:
    endpoint()
    happen("agent.started")
    at = timezone.now() + timedelta(hours=2)
    WebhookDelivery.objects.update(next_attempt_at=at)
    for seconds in (0, -3, 3600):
        look(seconds)
    assert WebhookDelivery.objects.get().next_attempt_at == at
