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


def test_what_a_dead_cluster_had_fetched_is_free_at_once() -> None:
    queue.ask_for_sign()
    OrmQ.objects.update(lock=timezone.now() + timedelta(seconds=240))
    assert queue.free_locks() == 1
    assert OrmQ.objects.filter(lock__lte=timezone.now()).count() == 1


def test_the_queue_of_another_cluster_is_left_alone() -> None:
    later = timezone.now() + timedelta(seconds=240)
    OrmQ.objects.create(key="someone-else", payload="", lock=later)
    assert queue.free_locks() == 0
    assert OrmQ.objects.get().lock == later


def test_a_sign_of_life_leaves_no_result_behind() -> None:
    queue.ask_for_sign()
    task = OrmQ.objects.get().task
    assert task["save"] is False
    assert task["func"] == "monitor_site.jobs.queue.sign_of_life"


def test_old_results_go_failures_included() -> None:
    result("old-failure", days_old=8, success=False)
    result("old-success", days_old=8, success=True)
    result("new-failure", days_old=6, success=False)
    assert queue.prune_results(timezone.now() - timedelta(days=7)) == 2
    assert Task.objects.get().id == "new-failure"


def test_more_results_than_one_batch_go_too() -> None:
    for number in range(7):
        result(f"r{number}", days_old=9, success=False)
    queue.PRUNE_BATCH, before = 3, queue.PRUNE_BATCH
    try:
        assert queue.prune_results(timezone.now()) == 7
    finally:
        queue.PRUNE_BATCH = before


def test_a_job_that_stayed_in_the_queue_for_days_goes() -> None:
    queue.enqueue("time.sleep", 0)
    assert queue.prune_queued(timezone.now() - timedelta(days=1)) == 0
    assert queue.prune_queued(timezone.now() + timedelta(seconds=1)) == 1
    assert not OrmQ.objects.exists()


def test_a_row_that_cannot_be_read_is_left_to_the_cluster() -> None:
    OrmQ.objects.create(key=settings.Q_CLUSTER["name"], payload="signed with another key", lock=timezone.now())
    assert queue.prune_queued(timezone.now() + timedelta(days=1)) == 0


def test_nobody_can_queue_a_function_of_their_choice_in_the_admin() -> None:
    admin.autodiscover()
    assert not any(admin.site.is_registered(model) for model in (Schedule, Success, OrmQ))
