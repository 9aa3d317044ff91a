"""The watchdog step by step, with a scripted cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django import db
from django.utils import timezone
from django_q.models import OrmQ

from core.models import AuditEntry, Heartbeat
from monitor_site.jobs import queue
from monitor_site.jobs import watchdog as watchdog_module
from monitor_site.jobs.watchdog import ClusterWatchdog, WatchdogConfig

pytestmark = pytest.mark.django_db


class ScriptedCluster:
    made: list[ScriptedCluster] = []

    def __init__(self, *, grace_seconds: float, after_fork: Callable[[], None]) -> None:
        self.finished_jobs = 0
        self.exit_code: int | None = None
        self.killed = False
        self.made.append(self)

    def kill(self) -> None:
        self.killed = True


@pytest.fixture
def watchdog(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterWatchdog]:
    ScriptedCluster.made = []
    monkeypatch.setattr(watchdog_module, "RunningCluster", ScriptedCluster)
    monkeypatch.setattr(db, "close_old_connections", lambda: None)  # the connection has the test's transaction
    yield ClusterWatchdog(WatchdogConfig(), after_fork=lambda: None)


def run(watchdog: ClusterWatchdog, seconds: range) -> None:
    for now in seconds:
        watchdog.step(float(now))


def without_database(*args: Any, **kwargs: Any) -> Any:
    raise db.OperationalError("database is locked")


def test_a_heartbeat_job_is_queued_every_interval(watchdog: ClusterWatchdog) -> None:
    run(watchdog, range(42))
    assert OrmQ.objects.count() == 3


def test_a_finished_job_stores_the_heartbeat(watchdog: ClusterWatchdog) -> None:
    run(watchdog, range(5))
    assert not Heartbeat.objects.filter(name="jobs").exists()
    ScriptedCluster.made[0].finished_jobs += 1
    run(watchdog, range(5, 6))
    assert Heartbeat.objects.filter(name="jobs").exists()


def test_a_cluster_that_finishes_no_job_is_replaced(watchdog: ClusterWatchdog) -> None:
    run(watchdog, range(75))
    assert [cluster.killed for cluster in ScriptedCluster.made] == [False]
    run(watchdog, range(75, 77))
    assert [cluster.killed for cluster in ScriptedCluster.made] == [True, False]
    assert AuditEntry.objects.get().data == {"reason": "no job has finished for 75 s"}


def test_a_cluster_busy_with_a_long_queue_is_not_replaced(watchdog: ClusterWatchdog) -> None:
    for now in range(0, 600, 50):  # one 50-second job after the other, so no heartbeat job ever runs
        run(watchdog, range(now, now + 50))
        ScriptedCluster.made[0].finished_jobs += 1
    assert len(ScriptedCluster.made) == 1


def test_a_database_outage_does_not_replace_the_cluster(
    watchdog: ClusterWatchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(watchdog, range(2))
    monkeypatch.setattr(queue, "enqueue_heartbeat", without_database)
    run(watchdog, range(2, 300))
    assert len(ScriptedCluster.made) == 1


def test_the_cluster_starts_when_the_database_is_available(
    watchdog: ClusterWatchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(queue, "free_locks", without_database)
        run(watchdog, range(3))
    assert ScriptedCluster.made == []
    run(watchdog, range(3, 6))
    assert len(ScriptedCluster.made) == 1


def test_a_crash_looping_cluster_is_started_less_and_less_often(watchdog: ClusterWatchdog) -> None:
    for now in range(100):
        watchdog.step(float(now))
        ScriptedCluster.made[-1].exit_code = 1
    assert 5 < len(ScriptedCluster.made) < 20


def test_stale_after_exceeds_the_longest_job(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "timeout": 100}
    assert WatchdogConfig.from_settings().stale_after == 115


def test_old_results_are_deleted_regularly(watchdog: ClusterWatchdog, monkeypatch: pytest.MonkeyPatch) -> None:
    pruned: list[timedelta] = []

    def prune(before: datetime) -> int:
        pruned.append(timezone.now() - before)
        return 0

    monkeypatch.setattr(queue, "prune_results", prune)
    run(watchdog, range(0, 7200, 60))
    assert [kept.days for kept in pruned] == [7, 7]
