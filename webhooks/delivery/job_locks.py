"""Sees to it that of each job one is queued and one is at work, at most; a job that died loses its place.

Two senders of one lane would do no harm (rows are claimed), but each counts an endpoint's rate for itself.
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

HOLD = timedelta(seconds=4)  # renewed with every round of a sender, which are a second apart at most
QUEUE_PATIENCE = timedelta(seconds=5)
LATEST_ROWS = 20
RENEW = f"UPDATE {JobTicket._meta.db_table} SET held_until = %s WHERE name = %s AND holder = %s"  # noqa: S608

enqueue: Callable[..., str] = async_task


def bell(name: str) -> str:
    """Where the job at work hears that there is more."""
    return f"job-{name}"


def is_held(name: str, now: datetime) -> bool:
    return JobTicket.objects.filter(name=name, held_until__gt=now).exists()


def queue_once(name: str, job: str, now: datetime, *arguments: str) -> bool:
    """Queues `job(*arguments)` unless it waits in the queue or is at work; whether it did."""
    if not _may_queue(name, now):
        return False
    with transaction.atomic():
        JobTicket.objects.get_or_create(name=name)
        if not _free(name, now).update(queued_at=now):  # somebody else was faster
            return False
        task = enqueue(job, *arguments, task_name=f"webhooks.{name}", save=False)
        JobTicket.objects.filter(name=name).update(queue_row=_row_of(task))
    return True


def _may_queue(name: str, now: datetime) -> bool:
    """Only looks: most of the time the answer is no, and then nothing need be locked."""
    if not JobTicket.objects.filter(name=name).exists():
        return True
    return any(not _waits(row, now) for row in _free(name, now).values_list("queue_row", flat=True))


def _free(name: str, now: datetime) -> QuerySet[JobTicket]:
    not_held = Q(held_until=None) | Q(held_until__lte=now)
    not_queued = Q(queued_at=None) | Q(queued_at__lte=now - QUEUE_PATIENCE)
    return JobTicket.objects.filter(not_held & not_queued, name=name)


def _waits(row: int | None, now: datetime) -> bool:
    """Whether the job still lies in the queue. One that was fetched and never began went down with its worker."""
    return row is not None and OrmQ.objects.filter(pk=row, lock__lte=now).exists()


def _row_of(task: str) -> int | None:
    newest = OrmQ.objects.order_by("-pk")[:LATEST_ROWS]
    return next((row.pk for row in newest if row.task["id"] == task), None)


def take(name: str, holder: str, now: datetime) -> bool:
    """The job begins. False when another one is at work."""
    JobTicket.objects.get_or_create(name=name)
    JobTicket.objects.filter(name=name).update(queued_at=None, queue_row=None)
    free = Q(held_until=None) | Q(held_until__lte=now)
    return bool(JobTicket.objects.filter(free, name=name).update(holder=holder, held_until=now + HOLD))


def renew(name: str, holder: str, now: datetime) -> bool:
    """False when somebody else has it by now."""
    return bool(bulk_sql.execute(RENEW, [now + HOLD, name, holder]))


def give_back(name: str, holder: str) -> None:
    JobTicket.objects.filter(name=name, holder=holder).update(holder="", held_until=None)


def bring_forward(by: timedelta) -> None:
    """Jobs hold and wait until a moment that much earlier. What lies in the queue can be fetched at once."""
    JobTicket.objects.update(held_until=F("held_until") - by, queued_at=F("queued_at") - by)
    OrmQ.objects.update(lock=F("lock") - by)
