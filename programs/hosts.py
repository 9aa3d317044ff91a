"""Which host is this one, and whose agent is silent."""

from __future__ import annotations

import platform
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from core.timeformat import iso

from . import events
from .models import Host, Process, Program
from .states import ALIVE

HEARTBEAT_SECONDS = 5
SILENT_AFTER = timedelta(seconds=3 * HEARTBEAT_SECONDS + 5)
LONGEST_LOCK_SECONDS = 1.0


def this_host() -> Host:
    """The row of this machine, made on first use; the first one ever becomes the default host."""
    with transaction.atomic():
        host, _ = Host.objects.get_or_create(
            name=settings.HOST_NAME,
            defaults={"is_default": not Host.objects.exists(), "platform": platform.platform()},
        )
    return host


def is_alive(heartbeat_at: datetime | None, now: datetime) -> bool:
    return heartbeat_at is not None and now - heartbeat_at < SILENT_AFTER


def report_lost(host_id: int, heartbeat_at: datetime, *, actor: str, now: datetime) -> bool:
    """Records that the agent, last heard at `heartbeat_at`, is lost. False where that is not so, or told already.

    Any number of watchers may see it at the same time: one of them takes `is_watched` away and tells. One that had
    to wait for the database does not judge: the agent may have been waiting for the same lock.
    """
    began = time.monotonic()
    with transaction.atomic():
        if time.monotonic() - began > LONGEST_LOCK_SECONDS:
            return False
        silent = Host.objects.filter(pk=host_id, heartbeat_at=heartbeat_at, is_watched=True)
        if not silent.update(is_watched=False):
            return False
        events.record("agent.lost", actor=actor, data=_loss(Host.objects.get(pk=host_id), heartbeat_at, now))
    return True


def _loss(host: Host, heartbeat_at: datetime, now: datetime) -> dict[str, object]:
    alive = Process.objects.filter(program__in=Program.everything.of_host(host), state__in=ALIVE)
    return {
        "host": host.name,
        "since": iso(heartbeat_at),
        "silent_seconds": round(max(0.0, (now - heartbeat_at).total_seconds()), 1),
        "processes": alive.count(),
    }


def default_heartbeat() -> datetime | None:
    """The heartbeat of the host that runs the programs which name none."""
    return Host.objects.filter(is_default=True).values_list("heartbeat_at", flat=True).first()
