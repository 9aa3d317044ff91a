"""What the watchdog does in django-q2's tables: queue heartbeat jobs, free locked jobs, delete old rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ, Task
from django_q.tasks import async_task

PRUNE_BATCH = 500
enqueue: Callable[..., str] = async_task


def heartbeat_job() -> None:
    """Does nothing: when it finishes, the cluster works."""


def enqueue_heartbeat() -> None:
    enqueue(f"{heartbeat_job.__module__}.{heartbeat_job.__name__}", task_name="heartbeat", save=False)


def free_locks() -> int:
    """Makes the jobs that a dead cluster had fetched available again and returns how many.

    Only call it while no cluster runs: a fetched row is locked for `retry` seconds.
    """
    now = timezone.now()
    return OrmQ.objects.filter(key=Conf.CLUSTER_NAME, lock__gt=now).update(lock=now)


def prune_results(before: datetime) -> int:
    # django-q2 never deletes failures.
    deleted = 0
    while batch := list(Task.objects.filter(stopped__lt=before).values_list("pk", flat=True)[:PRUNE_BATCH]):
        deleted += Task.objects.filter(pk__in=batch).delete()[0]
    return deleted


def prune_queued(before: datetime) -> int:
    """Deletes jobs queued before that time, such as jobs that crash every worker.

    Keeps rows that cannot be decoded (signed with another SECRET_KEY): django-q2 drops those itself.
    """
    rows = OrmQ.objects.order_by("pk").iterator(chunk_size=PRUNE_BATCH)
    old = [row.pk for row in rows if row.task.get("started", before) < before]
    for start in range(0, len(old), PRUNE_BATCH):
        OrmQ.objects.filter(pk__in=old[start : start + PRUNE_BATCH]).delete()
    return len(old)
