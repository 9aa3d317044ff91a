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
from programs.feed import Mailbox, Message

from .api_rig import define, host, running

pytestmark = pytest.mark.django_db(transaction=True)
define_async, host_async = sync_to_async(define), sync_to_async(host)


@pytest.fixture(autouse=True)
def own_bell(tmp_path: Path, settings: Any) -> None:
    settings.RUN_DIR = tmp_path


@sync_to_async
def write_running(program: Any, **values: Any) -> None:
    running(program, **values)
    doorbell.ring("web")


async def take(mailbox: Mailbox, type_: str, seconds: float = 60) -> Any:
    """The next message of that type."""
    async with asyncio.timeout(seconds):
        while True:
            message = await mailbox.take()
            if message and json.loads(message.text)["type"] == type_:
                return json.loads(message.text)


async def test_a_change_reaches_who_watches_long_before_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "IDLE_SECONDS", 3600)
    await host_async()
    program = await define_async()
    async with feed.current().watch() as mailbox:
        await asyncio.sleep(feed.BUNDLE_SECONDS * 2)
        await write_running(program, pid=7)
        delta = await take(mailbox, "delta")
    assert [(found["id"], found["state"], found["pid"]) for found in delta["programs"]] == [
        (program.pk, "running", 7)
    ]


async def test_a_lost_ring_costs_a_second_at_most() -> None:
    await host_async()
    program = await define_async()
    async with feed.current().watch() as mailbox:
        await sync_to_async(running)(program)
        assert (await take(mailbox, "delta"))["programs"]
    assert feed.IDLE_SECONDS <= 1


async def test_deltas_follow_each_other_without_a_gap() -> None:
    await host_async()
    program = await define_async()
    async with feed.current().watch() as mailbox:
        await write_running(program, pid=1)
        first = await take(mailbox, "delta")
        await sync_to_async(record_event)()  # a revision without anything to show
        await take(mailbox, "event")
        await write_running(program, pid=2)
        second = await take(mailbox, "delta")
    assert second["previous"] == first["revision"] < second["revision"]


@transaction.atomic
def record_event() -> None:
    events.record("program.scaled", actor="x")


async def test_events_come_in_order() -> None:
    async with feed.current().watch() as mailbox:
        for _ in range(3):
            await sync_to_async(record_event)()
        found = [await take(mailbox, "event") for _ in range(3)]
    sequence = [message["event"]["seq"] for message in found]
    assert sequence == sorted(sequence)
    assert found[0]["event"]["type"] == "program.scaled"


async def test_a_removed_program_is_told() -> None:
    await host_async()
    program = await define_async()
    async with feed.current().watch() as mailbox:
        await sync_to_async(services.remove)(program, actor="x")
        assert (await take(mailbox, "delta"))["removed"] == [program.pk]


async def test_a_silent_agent_makes_everybody_start_over() -> None:
    await host_async()
    async with feed.current().watch() as mailbox:
        await host_async(is_alive=False)
        doorbell.ring("web")
        async with asyncio.timeout(60):
            assert await mailbox.take() is None


async def test_what_changes_between_watching_and_the_snapshot_is_not_lost() -> None:
    await host_async()
    program = await define_async()
    async with feed.current().watch():
        await write_running(program, pid=5)
        snapshot = json.loads(await feed.current().snapshot())
    assert [found["pid"] for found in snapshot["programs"]] == [5]


async def test_many_snapshots_at_once_cost_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Mock(wraps=status.report)
    monkeypatch.setattr(status, "report", report)
    async with feed.current().watch():
        texts = await asyncio.gather(*(feed.current().snapshot() for _ in range(50)))
    assert len(set(texts)) == 1
    assert report.call_count == 1


async def test_the_feed_survives_a_database_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    await host_async()
    program = await define_async()
    failing = Mock(side_effect=[DatabaseError("gone"), RuntimeError("a bug"), DEFAULT], wraps=status.pulse)
    monkeypatch.setattr(feed, "IDLE_SECONDS", 0.1)
    async with feed.current().watch() as mailbox:
        await write_running(program)
        await take(mailbox, "delta")
        monkeypatch.setattr(status, "pulse", failing)
        await write_running(program, pid=9)
        assert (await take(mailbox, "delta"))["programs"][0]["pid"] == 9


async def test_who_waits_is_not_told_with_the_others_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiting request sees a change within some tens of milliseconds, even when no bell rings."""
    monkeypatch.setattr(feed, "IDLE_SECONDS", 3600)
    await host_async()
    program = await define_async()
    async with feed.current().watch(), feed.current().watch(urgent=True) as mailbox:
        await sync_to_async(running)(program)
        await take(mailbox, "delta")


async def test_the_feed_rests_when_nobody_watches() -> None:
    before = asyncio.all_tasks()
    async with feed.current().watch():
        assert len(asyncio.all_tasks()) > len(before)
    assert asyncio.all_tasks() == before


async def test_a_resting_feed_holds_no_connection() -> None:
    async with feed.current().watch():
        pass
    found = feed.current()._thread.submit(lambda: connection.connection)
    assert await asyncio.wrap_future(found) is None


async def test_one_that_leaves_does_not_stop_the_feed_for_others() -> None:
    async with feed.current().watch() as staying:
        async with feed.current().watch():
            pass
        await sync_to_async(record_event)()
        assert await take(staying, "event")


async def test_a_mailbox_that_overflows_is_told_to_start_over() -> None:
    mailbox = Mailbox(urgent=False)
    for number in range(feed.MAILBOX_SIZE + 5):
        mailbox.put(Message(str(number)))
    assert await mailbox.take() is None
    mailbox.put(Message("after"))
    message = await mailbox.take()
    assert message and message.text == "after"


async def test_a_storm_of_changes_comes_in_bundles() -> None:
    await host_async()
    program = await define_async()
    async with feed.current().watch() as mailbox:
        for pid in range(1, 40):
            await write_running(program, pid=pid)
        pids: list[int] = []
        while not pids or pids[-1] != 39:
            pids.append((await take(mailbox, "delta"))["programs"][0]["pid"])
    assert len(pids) < 20
