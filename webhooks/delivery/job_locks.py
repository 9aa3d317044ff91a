"""Job locks: at most one job of a name is queued and at most one runs. The lock of a crashed job expires.

Two workers of one queue would be safe, since deliveries are leased, but each counts an endpoint's rate separately.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django_q.models import OrmQ
from django_q.tasks import async_task

from core import bulk_sql
from webhooks.models import JobTicket

HOLD_TIME = timedelta(seconds=4)  # a worker renews its lock at least once a second
START_TIMEOUT = timedelta(seconds=5)
RECENT_ROWS = 20
RENEW = f"UPDATE {JobTicket._meta.db_table} SET held_until = %s WHERE name = %s AND holder = %s"  # noqa: S608

enqueue: Callable[..., str] = async_task


def wakeup_channel(name: str) -> str:
    return f"job-{name}"


def is_held(name: str, now: datetime) -> bool:
    return JobTicket.objects.filter(name=name, held_until__gt=now).exists()


def queue_once(name: str, job: str, now: datetime, *arguments: str) -> bool:
    """Queues `job(*arguments)` unless it is queued or running already. Returns whether it was queued."""
    if not _may_queue(name, now):
        return False
    JobTicket.objects.get_or_create(name=name)
    with transaction.atomic():
        # Nobody waits here for a host that is cut off while it queues the job.
        if not list(_idle(name, now).select_for_update(skip_locked=True)):  # another process was faster
            return False
        _idle(name, now).update(queued_at=now)
        # save=False: nobody reads the results, which would fill the database.
        task = enqueue(job, *arguments, task_name=f"webhooks.{name}", save=False)
        JobTicket.objects.filter(name=name).update(queue_row=_queue_row(task))
    return True


def _may_queue(name: str, now: datetime) -> bool:
    # Only reads: the answer is mostly no, and then no row need be locked.
    if not JobTicket.objects.filter(name=name).exists():
        return True
    return any(not _is_in_queue(row, now) for row in _idle(name, now).values_list("queue_row", flat=True))


def _idle(name: str, now: datetime) -> QuerySet[JobTicket]:
    not_held = Q(held_until=None) | Q(held_until__lte=now)
    not_queued = Q(queued_at=None) | Q(queued_at__lte=now - START_TIMEOUT)
    return JobTicket.objects.filter(not_held & not_queued, name=name)


def _is_in_queue(row: int | None, now: datetime) -> bool:
    # A fetched job that never started was lost with its worker process: its `lock` is in the future.
    return row is not None and OrmQ.objects.filter(pk=row, lock__lte=now).exists()


def _queue_row(task: str) -> int | None:
    newest = OrmQ.objects.order_by("-pk")[:RECENT_ROWS]
    return next((row.pk for row in newest if row.task["id"] == task), None)


def acquire(name: str, holder: str, now: datetime) -> bool:
    """Called by the job when it starts. False when another one holds the lock."""
    JobTicket.objects.get_or_create(name=name)
    JobTicket.objects.filter(name=name).update(queued_at=None, queue_row=None)
    # The conditional update is the lock: of two jobs only one changes the row.
    free = Q(held_until=None) | Q(held_until__lte=now)
    return bool(JobTicket.objects.filter(free, name=name).update(holder=holder, held_until=now + HOLD_TIME))


def renew(name: str, holder: str, now: datetime) -> bool:
    """False when the lock expired and another job took it."""
    return bool(bulk_sql.execute(RENEW, [now + HOLD_TIME, name, holder]))


def release(name: str, holder: str) -> None:
    JobTicket.objects.filter(name=name, holder=holder).update(holder="", held_until=None)


def shift_timestamps(by: timedelta) -> None:
    """Moves the timestamps of locks and queued jobs back, after the clock was set back by that much."""
    JobTicket.objects.update(held_until=F("held_until") - by, queued_at=F("queued_at") - by)
    OrmQ.objects.update(lock=F("lock") - by)
