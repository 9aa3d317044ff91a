from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib import admin
from django.utils import timezone
from django_q.models import OrmQ, Schedule, Success, Task

from monitor_site.jobs import queue

pytestmark = pytest.mark.django_db


def result(identity: str, *, days_old: int, success: bool) -> Task:
    then = timezone.now() - timedelta(days=days_old)
    return Task.objects.create(
        id=identity, name=identity, func="f", started=then, stopped=then, success=success, attempt_count=1
    )


def test_jobs_that_a_dead_cluster_fetched_are_freed() -> None:
    queue.enqueue_heartbeat()
    OrmQ.objects.update(lock=timezone.now() + timedelta(seconds=240))
    assert queue.free_locks() == 1
    assert OrmQ.objects.filter(lock__lte=timezone.now()).count() == 1


def test_the_queue_of_another_cluster_is_not_changed() -> None:
    later = timezone.now() + timedelta(seconds=240)
    OrmQ.objects.create(key="someone-else", payload="", lock=later)
    assert queue.free_locks() == 0
    assert OrmQ.objects.get().lock == later


def test_a_heartbeat_job_stores_no_result() -> None:
    queue.enqueue_heartbeat()
    task = OrmQ.objects.get().task
    assert task["save"] is False
    assert task["func"] == "monitor_site.jobs.queue.heartbeat_job"


def test_old_results_are_deleted_including_failures() -> None:
    result("old-failure", days_old=8, success=False)
    result("old-success", days_old=8, success=True)
    result("new-failure", days_old=6, success=False)
    assert queue.prune_results(timezone.now() - timedelta(days=7)) == 2
    assert Task.objects.get().id == "new-failure"


def test_results_are_deleted_in_batches() -> None:
    for number in range(7):
        result(f"r{number}", days_old=9, success=False)
    queue.PRUNE_BATCH, before = 3, queue.PRUNE_BATCH
    try:
        assert queue.prune_results(timezone.now()) == 7
    finally:
        queue.PRUNE_BATCH = before


def test_a_job_that_was_queued_for_days_is_deleted() -> None:
    queue.enqueue("time.sleep", 0)
    assert queue.prune_queued(timezone.now() - timedelta(days=1)) == 0
    assert queue.prune_queued(timezone.now() + timedelta(seconds=1)) == 1
    assert not OrmQ.objects.exists()


def test_a_row_that_cannot_be_decoded_is_kept() -> None:
    OrmQ.objects.create(key=settings.Q_CLUSTER["name"], payload="signed with another key", lock=timezone.now())
    assert queue.prune_queued(timezone.now() + timedelta(days=1)) == 0


def test_the_admin_does_not_offer_the_tables_of_the_queue() -> None:
    admin.autodiscover()
    assert not any(admin.site.is_registered(model) for model in (Schedule, Success, OrmQ))
