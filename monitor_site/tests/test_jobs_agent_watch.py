"""An agent that is silent: told once, and only when it is one."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django import db
from django.db import OperationalError, transaction
from django_q.models import OrmQ

from core.tests.databases import BUSY, other_connection
from monitor_site.jobs import guard as guard_module
from monitor_site.jobs.agent_watch import AgentWatch
from monitor_site.jobs.config import GuardConfig
from monitor_site.jobs.guard import Guard
from programs import hosts
from programs.hosts import this_host
from programs.models import Host, ProgramEvent
from programs.supervisor.heartbeat import HostHeartbeat, Kind, save
from programs.tests.actors import AgentBox, define, wait_event, wait_for, wait_state
from webhooks.models import WebhookDelivery
from webhooks.tests.rig import endpoint

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def beat(at: datetime, kind: Kind = Kind.NEXT) -> None:
    with transaction.atomic():
        save(this_host().pk, HostHeartbeat(at, kind), {})


def told(type_: str) -> list[dict[str, Any]]:
    return [event.data for event in ProgramEvent.objects.filter(type=type_).order_by("seq")]


class Clock:
    """Of one watcher: monotonic seconds, and a wall clock that goes along."""

    def __init__(self) -> None:
        self.now = 0.0
        self.watch = AgentWatch(wall=lambda: NOON + timedelta(seconds=self.now))

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.watch.look(self.now)
            self.now += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.django_db
class TestWatch:
    def test_a_silence_is_told_once_with_its_beginning(self, clock: Clock) -> None:
        beat(NOON, Kind.FIRST)
        clock.run(20)
        assert told("agent.lost") == []
        clock.run(7)
        host = this_host().name
        assert told("agent.lost") == [
            {"host": host, "since": "2026-06-01T12:00:00Z", "silent_seconds": 20.0, "processes": 0}
        ]
        clock.run(600)
        assert len(told("agent.lost")) == 1
        event = ProgramEvent.objects.get(type="agent.lost")
        assert (event.severity, event.actor) == ("error", "jobs")

    def test_an_agent_that_beats_is_never_told_lost(self, clock: Clock) -> None:
        for second in range(0, 120, 5):
            beat(NOON + timedelta(seconds=second), Kind.NEXT if second else Kind.FIRST)
            clock.run(5)
        assert told("agent.lost") == []

    def test_after_a_clean_stop_there_is_nothing_to_tell(self, clock: Clock) -> None:
        beat(NOON, Kind.FIRST)
        clock.run(5)
        beat(NOON + timedelta(seconds=5), Kind.LAST)
        clock.run(120)
        assert told("agent.lost") == []

    def test_a_heartbeat_of_before_the_machine_was_off_is_no_silence_yet(self, clock: Clock) -> None:
        beat(NOON - timedelta(hours=9), Kind.FIRST)
        clock.run(15)  # the watcher came first; now the agent
        beat(NOON + timedelta(seconds=15), Kind.FIRST)
        clock.run(15)
        assert told("agent.lost") == []

    def test_a_watcher_that_was_asleep_itself_begins_anew(self, clock: Clock) -> None:
        beat(NOON, Kind.FIRST)
        clock.run(10)
        clock.now += 3600
        clock.run(20)
        assert told("agent.lost") == []
        clock.run(10)
        assert len(told("agent.lost")) == 1

    def test_a_clock_that_was_set_makes_no_silence(self, clock: Clock) -> None:
        for second in range(0, 60, 5):
            hour = 3600 if second == 30 else 0
            beat(NOON + timedelta(seconds=second - hour), Kind.NEXT if second else Kind.FIRST)
            clock.run(5)
        assert told("agent.lost") == []

    def test_of_two_watchers_one_tells(self) -> None:
        one, other = Clock(), Clock()
        beat(NOON, Kind.FIRST)
        for _ in range(60):
            one.run(1)
            other.run(1)
        assert len(told("agent.lost")) == 1

    def test_who_had_to_wait_for_the_database_does_not_judge(self, monkeypatch: pytest.MonkeyPatch) -> None:
        beat(NOON, Kind.FIRST)
        times = iter([0.0, 5.0])
        monkeypatch.setattr("programs.hosts.time.monotonic", lambda: next(times))
        assert not hosts.report_lost(this_host().pk, NOON, actor="jobs", now=NOON)
        assert Host.objects.get().is_watched

    def test_a_heartbeat_at_the_last_moment_wins(self) -> None:
        beat(NOON, Kind.FIRST)
        beat(NOON + timedelta(seconds=25))
        assert not hosts.report_lost(this_host().pk, NOON, actor="jobs", now=NOON)
        assert told("agent.lost") == []

    def test_one_that_was_only_held_up_says_that_it_is_back(self, clock: Clock) -> None:
        beat(NOON, Kind.FIRST)
        clock.run(30)
        beat(NOON + timedelta(seconds=40))
        assert [data["silent_seconds"] for data in told("agent.started")] == [40.0]
        clock.run(40)
        assert len(told("agent.lost")) == 2, "it is watched again"


class ScriptedCluster:
    finished = 0
    exit_code = None

    def __init__(self, **kwargs: Any) -> None: ...

    def end(self) -> None: ...


@pytest.fixture
def guard(
    transactional_db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Guard]:
    settings.RUN_DIR = tmp_path / "run"
    monkeypatch.setattr(guard_module, "RunningCluster", ScriptedCluster)
    monkeypatch.setattr(db, "close_old_connections", lambda: None)
    yield Guard(GuardConfig(stale=10_000), after_fork=lambda: None)


def queued() -> list[str]:
    return [row.task["func"] for row in OrmQ.objects.order_by("pk") if "webhooks" in row.task["func"]]


def test_the_news_goes_out_though_the_agent_that_would_send_it_is_gone(guard: Guard) -> None:
    endpoint(events=["agent.*"])
    beat(NOON, Kind.FIRST)
    for second in range(20):
        guard.step(float(second))
    assert queued() == []
    for second in range(20, 28):
        guard.step(float(second))
    assert WebhookDelivery.objects.get().event.type == "agent.lost"
    assert "webhooks.tasks.drain" in queued()


def test_a_database_that_was_away_is_not_held_against_the_agent(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any) -> Any:
        raise OperationalError("database is locked")

    beat(NOON, Kind.FIRST)
    for second in range(18):
        guard.step(float(second))
    with monkeypatch.context() as patch:
        patch.setattr(Host.objects, "all", away)
        for second in range(18, 40):
            guard.step(float(second))
    for second in range(40, 58):
        guard.step(float(second))
    assert told("agent.lost") == []
    for second in range(58, 70):
        guard.step(float(second))
    assert len(told("agent.lost")) == 1


@pytest.fixture
def box(transactional_db: None, tmp_path: Path, settings: Any) -> Iterator[AgentBox]:
    settings.DATA_DIR = tmp_path
    settings.LOG_DIR = tmp_path / "logs"
    settings.RUN_DIR = tmp_path / "run"
    box = AgentBox(tmp_path)
    yield box
    box.clean_up()


def heard() -> bool:
    return Host.objects.filter(is_watched=True, heartbeat_at__isnull=False).exists()


def test_a_killed_agent_is_told_lost_and_its_successor_ends_that(box: AgentBox, clock: Clock) -> None:
    program = define("web", "sleep 600")
    box.start()
    wait_state(program, "running")
    wait_for(heard, "the first heartbeat")
    box.kill()
    clock.run(27)
    (data,) = told("agent.lost")
    assert data["processes"] == 1
    box.start()
    wait_for(heard, "the successor's heartbeat")
    assert [event.type for event in ProgramEvent.objects.filter(type__startswith="agent.").order_by("seq")] == [
        "agent.started",
        "agent.lost",
        "agent.started",
    ]


def test_an_agent_that_was_asked_to_stop_is_not_missed(box: AgentBox, clock: Clock) -> None:
    box.start()
    wait_for(heard, "the first heartbeat")
    assert box.stop() == 0
    assert not heard()
    clock.run(60)
    assert told("agent.lost") == []


def freeze(box: AgentBox) -> None:
    """Stops the agent at a moment in which it does not hold the database."""
    assert box.process is not None
    while True:
        box.process.send_signal(signal.SIGSTOP)
        try:
            with other_connection(timeout=0.5) as other:
                other.lock()
            return
        except BUSY:
            box.process.send_signal(signal.SIGCONT)
            time.sleep(0.05)


def test_an_agent_that_was_frozen_says_that_it_is_back(box: AgentBox, clock: Clock) -> None:
    box.start()
    wait_for(heard, "the first heartbeat")
    freeze(box)
    clock.run(27)
    assert len(told("agent.lost")) == 1
    box.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
    assert "silent_seconds" in wait_event(None, "agent.started", count=2).data
