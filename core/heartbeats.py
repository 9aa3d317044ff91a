"""The heartbeat of the job cluster: its guard queues an empty job regularly and records when it finished."""

from __future__ import annotations

from datetime import datetime, timedelta

from .models import Heartbeat

JOBS = "jobs"
JOBS_LOST_AFTER = timedelta(seconds=60)


def jobs_heartbeat() -> datetime | None:
    return Heartbeat.objects.filter(name=JOBS).values_list("at", flat=True).first()


def jobs_are_alive(at: datetime | None, now: datetime) -> bool:
    return at is not None and now - at < JOBS_LOST_AFTER
