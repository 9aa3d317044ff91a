"""What the guard does to django-q2's tables: ask for a sign of life, free what a dead cluster held, tidy up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ, Task
from django_q.tasks import async_task

PRUNE_BATCH = 500
enqueue: Callable[..., str] = async_task


def sign_of_life() -> None:
    """The job that proves the cluster alive by having been done."""


def ask_for_sign() -> None:
    enqueue(f"{sign_of_life.__module__}.{sign_of_life.__name__}", task_name="sign_of_life", save=False)


def free_locks() -> int:
    """Makes everything a dead cluster had fetched ready to be fetched again; returns how many that were.

    Only right while no cluster runs: each row is locked for `retry` seconds by whoever fetched it.
    """
    now = timezone.now()
    return OrmQ.objects.filter(key=Conf.CLUSTER_NAME, lock__gt=now).update(lock=now)


def prune_results(before: datetime) -> int:
    """Deletes results older than `before`: django-q2 never forgets a failure."""
    gone = 0
    while batch := list(Task.objects.filter(stopped__lt=before).values_list("pk", flat=True)[:PRUNE_BATCH]):
        gone += Task.objects.filter(pk__in=batch).delete()[0]
    return gone


def prune_queued(before: datetime) -> int:
    """Deletes jobs queued before that time: those nobody works off, and those that kill every worker they meet.

    A row that can no longer be read (another SECRET_KEY) is left to django-q2, which drops it.
    """
    rows = OrmQ.objects.order_by("pk").iterator(chunk_size=PRUNE_BATCH)
    old = [row.pk for row in rows if row.task.get("started", before) < before]
    for start in range(0, len(old), PRUNE_BATCH):
        OrmQ.objects.filter(pk__in=old[start : start + PRUNE_BATCH]).delete()
    return len(old)
