"""Lost agents are reported once, and only when they are lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django import db
from django.db import OperationalError, transaction
from django_q.models import OrmQ

from core.tests.databases import BUSY, other_connection
from monitor_site.jobs import watchdog as watchdog_module
from monitor_site.jobs.lost_agents import LostAgentDetector
from monitor_site.jobs.watchdog import ClusterWatchdog, WatchdogConfig
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


def event_data(type_: str) -> list[dict[str, Any]]:
    return [event.data for event in ProgramEvent.objects.filter(type=type_).order_by("seq")]


class Clock:
    """A detector with its monotonic clock and a wall clock that advance together."""

    def __init__(self) -> None:
        self.now = 0.0
        self.detector = LostAgentDetector(wall_clock=lambda: NOON + timedelta(seconds=self.now))

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.detector.check(self.now)
            self.now += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.django_db
class TestDetector:
    def test_a_lost_agent_is_reported_once_with_its_last_heartbeat(self, clock: Clock) -> None:
        beat(NOON, Kind.FIRST)
        clock.run(20)
        assert event_data("agent.lost") == []
        clock.run(7)
        host = this_host().name
        assert event_data("agent.lost") == [
            {"host": host, "since": "2026-06-01T12:00:00Z", "silent_seconds": 20.0, "processes": 0}
        ]
        clock.run(600)
        assert len(event_data("agent.lost")) == 1
        event = ProgramEvent.objects.get(type="agent.lost")
        assert (event.severity, event.actor) == ("error", "jobs")

    def test_an_agent_with_heartbeats_is_not_lost(self, clock: Clock) -> None:
        for second in range(0, 120, 5):
            beat(NOON + timedelta(seconds=second), Kind.NEXT if second else Kind.FIRST)
            clock.run(5)
        assert event_data("agent.lost") == []

    def test_an_agent_that_stopped_cleanly_is_not_lost(self, clock: Clock) -> None:
        beat(NOON, Kind.FIRST)
        clock.run(5)
        beat(NOON + timedelta(seconds=5), Kind.LAST)
        clock.run(120)
        assert event_data("agent.lost") == []

    def test_an_old_heartbeat_after_a_power_cut_is_not_lost_yet(self, clock: Clock) -> None:
        beat(NOON - timedelta(hours=9), Kind.FIRST)
        clock.run(15)  # the jobs process starts first, then the agent
        beat(NOON + timedelta(seconds=15), Kind.FIRST)
        clock.run(15)
        assert event_data("agent.lost") == []

    def test_a_detector_that_did_not_run_for_an_hour_starts_from_scratch(self, clock: Clock) -> None:
        beat(NOON, Kind.FIRST)
        clock.run(10)
        clock.now += 3600
        clock.run(20)
        assert event_data("agent.lost") == []
        clock.run(10)
        assert len(event_data("agent.lost")) == 1

    def test_a_clock_change_does_not_report_a_lost_agent(self, clock: Clock) -> None:
        for second in range(0, 60, 5):
            hour = 3600 if second == 30 else 0
            beat(NOON + timedelta(seconds=second - hour), Kind.NEXT if second else Kind.FIRST)
            clock.run(5)
        assert event_data("agent.lost") == []

    def test_two_detectors_report_a_lost_agent_once(self) -> None:
        one, other = Clock(), Clock()
        beat(NOON, Kind.FIRST)
        for _ in range(60):
            one.run(1)
            other.run(1)
        assert len(event_data("agent.lost")) == 1

    def test_a_detector_that_waited_for_the_database_reports_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        beat(NOON, Kind.FIRST)
        times = iter([0.0, 5.0])
        # Not `time.monotonic` itself: others in this process read it too.
        monkeypatch.setattr("programs.hosts.time", SimpleNamespace(monotonic=lambda: next(times)))
        assert not hosts.report_lost(this_host().pk, NOON, actor="jobs", now=NOON)
        assert Host.objects.get().is_watched

    def test_a_heartbeat_just_before_the_report_prevents_it(self) -> None:
        beat(NOON, Kind.FIRST)
        beat(NOON + timedelta(seconds=25))
        assert not hosts.report_lost(this_host().pk, NOON, actor="jobs", now=NOON)
        assert event_data("agent.lost") == []

    def test_a_delayed_agent_reports_that_it_is_back(self, clock: Clock) -> None:
        beat(NOON, Kind.FIRST)
        clock.run(30)
        beat(NOON + timedelta(seconds=40))
        assert [data["silent_seconds"] for data in event_data("agent.started")] == [40.0]
        clock.run(40)
        assert len(event_data("agent.lost")) == 2, "it is watched again"


class ScriptedCluster:
    finished_jobs = 0
    exit_code = None

    def __init__(self, **kwargs: Any) -> None: ...

    def kill(self) -> None: ...


@pytest.fixture
def watchdog(
    transactional_db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ClusterWatchdog]:
    settings.RUN_DIR = tmp_path / "run"
    monkeypatch.setattr(watchdog_module, "RunningCluster", ScriptedCluster)
    monkeypatch.setattr(db, "close_old_connections", lambda: None)
    yield ClusterWatchdog(WatchdogConfig(stale_after=10_000), after_fork=lambda: None)


def queued() -> list[str]:
    return [row.task["func"] for row in OrmQ.objects.order_by("pk") if "webhooks" in row.task["func"]]


def test_agent_lost_is_delivered_without_an_agent(watchdog: ClusterWatchdog) -> None:
    endpoint(events=["agent.*"])
    beat(NOON, Kind.FIRST)
    for second in range(20):
        watchdog.step(float(second))
    assert queued() == []
    for second in range(20, 28):
        watchdog.step(float(second))
    assert WebhookDelivery.objects.get().event.type == "agent.lost"
    assert "webhooks.tasks.drain" in queued()


def test_a_database_outage_does_not_report_a_lost_agent(
    watchdog: ClusterWatchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*args: Any) -> Any:
        raise OperationalError("database is locked")

    beat(NOON, Kind.FIRST)
    for second in range(18):
        watchdog.step(float(second))
    with monkeypatch.context() as patch:
        patch.setattr(Host.objects, "all", unavailable)
        for second in range(18, 40):
            watchdog.step(float(second))
    for second in range(40, 58):
        watchdog.step(float(second))
    assert event_data("agent.lost") == []
    for second in range(58, 70):
        watchdog.step(float(second))
    assert len(event_data("agent.lost")) == 1


@pytest.fixture
def box(transactional_db: None, tmp_path: Path, settings: Any) -> Iterator[AgentBox]:
    settings.DATA_DIR = tmp_path
    settings.LOG_DIR = tmp_path / "logs"
    settings.RUN_DIR = tmp_path / "run"
    box = AgentBox(tmp_path)
    yield box
    box.clean_up()


def is_watched() -> bool:
    return Host.objects.filter(is_watched=True, heartbeat_at__isnull=False).exists()


def test_a_killed_agent_is_reported_and_its_successor_reports_its_start(box: AgentBox, clock: Clock) -> None:
    program = define("web", "sleep 600")
    box.start()
    wait_state(program, "running")
    wait_for(is_watched, "the first heartbeat")
    box.kill()
    clock.run(27)
    (data,) = event_data("agent.lost")
    assert data["processes"] == 1
    box.start()
    wait_for(is_watched, "the successor's heartbeat")
    assert [event.type for event in ProgramEvent.objects.filter(type__startswith="agent.").order_by("seq")] == [
        "agent.started",
        "agent.lost",
        "agent.started",
    ]


def test_an_agent_that_was_stopped_is_not_lost(box: AgentBox, clock: Clock) -> None:
    box.start()
    wait_for(is_watched, "the first heartbeat")
    assert box.stop() == 0
    assert not is_watched()
    clock.run(60)
    assert event_data("agent.lost") == []


def freeze(box: AgentBox) -> None:
    """Stops the agent with SIGSTOP while it does not lock the database."""
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


def test_a_suspended_agent_reports_that_it_is_back(box: AgentBox, clock: Clock) -> None:
    box.start()
    wait_for(is_watched, "the first heartbeat")
    freeze(box)
    clock.run(27)
    assert len(event_data("agent.lost")) == 1
    box.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
    assert "silent_seconds" in wait_event(None, "agent.started", count=2).data
