from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection, transaction

from core import doorbell
from programs import events, feed, services, status
from programs.feed import Message, Subscription

from .api_rig import define, host, running

pytestmark = pytest.mark.django_db(transaction=True)
define_async, host_async = sync_to_async(define), sync_to_async(host)


@pytest.fixture(autouse=True)
def own_run_dir(tmp_path: Path, settings: Any) -> None:
    settings.RUN_DIR = tmp_path


@sync_to_async
def write_running(program: Any, **values: Any) -> None:
    running(program, **values)
    doorbell.ring("web")


async def get(subscription: Subscription, type_: str, seconds: float = 60) -> Any:
    """The next message of that type."""
    async with asyncio.timeout(seconds):
        while True:
            message = await subscription.get()
            if message and json.loads(message.text)["type"] == type_:
                return json.loads(message.text)


async def test_a_signal_delivers_a_change_before_the_next_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "POLL_SECONDS", 3600)
    await host_async()
    program = await define_async()
    async with feed.current().subscribe() as subscription:
        await asyncio.sleep(feed.BATCH_SECONDS * 2)
        await write_running(program, pid=7)
        delta = await get(subscription, "delta")
    assert [(found["id"], found["state"], found["pid"]) for found in delta["programs"]] == [
        (program.pk, "running", 7)
    ]


async def test_a_lost_signal_delays_a_change_by_at_most_a_second() -> None:
    await host_async()
    program = await define_async()
    async with feed.current().subscribe() as subscription:
        await sync_to_async(running)(program)
        assert (await get(subscription, "delta"))["programs"]
    assert feed.POLL_SECONDS <= 1


async def test_deltas_follow_each_other_without_a_gap() -> None:
    await host_async()
    program = await define_async()
    async with feed.current().subscribe() as subscription:
        await write_running(program, pid=1)
        first = await get(subscription, "delta")
        await sync_to_async(record_event)()  # a revision without a status change
        await get(subscription, "event")
        await write_running(program, pid=2)
        second = await get(subscription, "delta")
    assert second["previous"] == first["revision"] < second["revision"]


@transaction.atomic
def record_event() -> None:
    events.record("program.scaled", actor="x")


async def test_events_come_in_order() -> None:
    async with feed.current().subscribe() as subscription:
        for _ in range(3):
            await sync_to_async(record_event)()
        found = [await get(subscription, "event") for _ in range(3)]
    sequence = [message["event"]["seq"] for message in found]
    assert sequence == sorted(sequence)
    assert found[0]["event"]["type"] == "program.scaled"


async def test_a_removed_program_is_reported() -> None:
    await host_async()
    program = await define_async()
    async with feed.current().subscribe() as subscription:
        await sync_to_async(services.remove)(program, actor="x")
        assert (await get(subscription, "delta"))["removed"] == [program.pk]


async def test_a_lost_agent_requires_a_resync() -> None:
    await host_async()
    async with feed.current().subscribe() as subscription:
        await host_async(is_alive=False)
        doorbell.ring("web")
        async with asyncio.timeout(60):
            assert await subscription.get() is None


async def test_a_change_between_subscribing_and_the_snapshot_is_not_lost() -> None:
    await host_async()
    program = await define_async()
    async with feed.current().subscribe():
        await write_running(program, pid=5)
        snapshot = json.loads(await feed.current().snapshot())
    assert [found["pid"] for found in snapshot["programs"]] == [5]


async def test_concurrent_snapshots_share_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Mock(wraps=status.report)
    monkeypatch.setattr(status, "report", report)
    async with feed.current().subscribe():
        texts = await asyncio.gather(*(feed.current().snapshot() for _ in range(50)))
    assert len(set(texts)) == 1
    assert report.call_count == 1


async def test_the_feed_survives_database_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    await host_async()
    program = await define_async()
    failing = Mock(
        side_effect=[DatabaseError("gone"), RuntimeError("a bug"), DEFAULT], wraps=status.read_host_state
    )
    monkeypatch.setattr(feed, "POLL_SECONDS", 0.1)
    async with feed.current().subscribe() as subscription:
        await write_running(program)
        await get(subscription, "delta")
        monkeypatch.setattr(status, "read_host_state", failing)
        await write_running(program, pid=9)
        assert (await get(subscription, "delta"))["programs"][0]["pid"] == 9


async def test_an_urgent_subscriber_gets_changes_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiting request sees a change within tens of milliseconds, even without a signal."""
    monkeypatch.setattr(feed, "POLL_SECONDS", 3600)
    await host_async()
    program = await define_async()
    async with feed.current().subscribe(), feed.current().subscribe(urgent=True) as subscription:
        await sync_to_async(running)(program)
        await get(subscription, "delta")


async def test_the_feed_stops_without_subscribers() -> None:
    before = asyncio.all_tasks()
    async with feed.current().subscribe():
        assert len(asyncio.all_tasks()) > len(before)
    assert asyncio.all_tasks() == before


async def test_a_stopped_feed_holds_no_connection() -> None:
    async with feed.current().subscribe():
        pass
    found = feed.current()._executor.submit(lambda: connection.connection)
    assert await asyncio.wrap_future(found) is None


async def test_one_unsubscribing_does_not_stop_the_feed_for_others() -> None:
    async with feed.current().subscribe() as staying:
        async with feed.current().subscribe():
            pass
        await sync_to_async(record_event)()
        assert await get(staying, "event")


async def test_a_full_queue_requires_a_resync() -> None:
    subscription = Subscription(urgent=False)
    for number in range(feed.QUEUE_SIZE + 5):
        subscription.put(Message(str(number)))
    assert await subscription.get() is None
    subscription.put(Message("after"))
    message = await subscription.get()
    assert message and message.text == "after"


async def test_many_changes_are_sent_in_batches() -> None:
    await host_async()
    program = await define_async()
    async with feed.current().subscribe() as subscription:
        for pid in range(1, 40):
            await write_running(program, pid=pid)
        pids: list[int] = []
        while not pids or pids[-1] != 39:
            pids.append((await get(subscription, "delta"))["programs"][0]["pid"])
    assert len(pids) < 20
