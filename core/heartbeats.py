"""Whether the job cluster still finishes jobs: its guard runs an empty one now and then, and notes the moment."""

from __future__ import annotations

from datetime import datetime, timedelta

from .models import Heartbeat

JOBS = "jobs"
JOBS_SILENT_AFTER = timedelta(seconds=60)


def jobs_heartbeat() -> datetime | None:
    """When a job was last finished; None for never."""
    return Heartbeat.objects.filter(name=JOBS).values_list("at", flat=True).first()


def jobs_are_alive(at: datetime | None, now: datetime) -> bool:
    """`at`: the `jobs_heartbeat`."""
    return at is not None and now - at < JOBS_SILENT_AFTER
