"""The guard's decisions, step by step, over a cluster that does what the test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django import db
from django.utils import timezone
from django_q.models import OrmQ

from core.models import AuditEntry, Heartbeat
from monitor_site.jobs import guard as guard_module
from monitor_site.jobs import queue
from monitor_site.jobs.config import GuardConfig
from monitor_site.jobs.guard import Guard

pytestmark = pytest.mark.django_db


class ScriptedCluster:
    made: list[ScriptedCluster] = []

    def __init__(self, *, grace_seconds: float, after_fork: Callable[[], None]) -> None:
        self.finished = 0
        self.exit_code: int | None = None
        self.ended = False
        self.made.append(self)

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    ScriptedCluster.made = []
    monkeypatch.setattr(guard_module, "RunningCluster", ScriptedCluster)
    monkeypatch.setattr(db, "close_old_connections", lambda: None)  # this one holds the test's transaction
    yield Guard(GuardConfig(), after_fork=lambda: None)


def run(guard: Guard, seconds: range) -> None:
    for now in seconds:
        guard.step(float(now))


def without_database(*args: Any, **kwargs: Any) -> Any:
    raise db.OperationalError("database is locked")


def test_an_idle_cluster_is_asked_for_a_sign_every_beat(guard: Guard) -> None:
    run(guard, range(42))
    assert OrmQ.objects.count() == 3


def test_proof_becomes_the_heartbeat_that_others_read(guard: Guard) -> None:
    run(guard, range(5))
    assert not Heartbeat.objects.filter(name="jobs").exists()
    ScriptedCluster.made[0].finished += 1
    run(guard, range(5, 6))
    assert Heartbeat.objects.filter(name="jobs").exists()


def test_a_cluster_that_finishes_nothing_is_replaced_after_its_time(guard: Guard) -> None:
    run(guard, range(75))
    assert [cluster.ended for cluster in ScriptedCluster.made] == [False]
    run(guard, range(75, 77))
    assert [cluster.ended for cluster in ScriptedCluster.made] == [True, False]
    assert AuditEntry.objects.get().data == {"reason": "no job was finished for 75 s"}


def test_a_cluster_busy_with_a_long_queue_is_left_in_peace(guard: Guard) -> None:
    for now in range(0, 600, 50):  # a job of 50 seconds after the other, and no sign of life ever gets its turn
        run(guard, range(now, now + 50))
        ScriptedCluster.made[0].finished += 1
    assert len(ScriptedCluster.made) == 1


def test_without_a_database_no_cluster_is_blamed(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    run(guard, range(2))
    monkeypatch.setattr(queue, "ask_for_sign", without_database)
    run(guard, range(2, 300))
    assert len(ScriptedCluster.made) == 1


def test_a_cluster_is_started_only_once_the_database_is_there(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(queue, "free_locks", without_database)
        run(guard, range(3))
    assert ScriptedCluster.made == []
    run(guard, range(3, 6))
    assert len(ScriptedCluster.made) == 1


def test_a_cluster_that_keeps_dying_is_started_less_and_less_often(guard: Guard) -> None:
    for now in range(100):
        guard.step(float(now))
        ScriptedCluster.made[-1].exit_code = 1
    assert 5 < len(ScriptedCluster.made) < 20


def test_the_time_without_a_finished_job_covers_the_longest_one(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "timeout": 100}
    assert GuardConfig.from_settings().stale == 115


def test_old_results_are_pruned_now_and_then(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    pruned: list[timedelta] = []

    def prune(before: datetime) -> int:
        pruned.append(timezone.now() - before)
        return 0

    monkeypatch.setattr(queue, "prune_results", prune)
    run(guard, range(0, 7200, 60))
    assert [kept.days for kept in pruned] == [7, 7]
