"""This host, and agents whose heartbeat is lost."""

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
MAX_LOCK_SECONDS = 1.0


def this_host() -> Host:
    """Creates the row of this machine on first use; the first host of all becomes the default host."""
    with transaction.atomic():
        host, _ = Host.objects.get_or_create(
            name=settings.HOST_NAME,
            defaults={"is_default": not Host.objects.exists(), "platform": platform.platform()},
        )
    return host


def is_alive(heartbeat_at: datetime | None, now: datetime) -> bool:
    return heartbeat_at is not None and now - heartbeat_at < SILENT_AFTER


def report_lost(host_id: int, heartbeat_at: datetime, *, actor: str, now: datetime) -> bool:
    """Records `agent.lost` for the agent whose last heartbeat was at `heartbeat_at`.

    False if it has a newer heartbeat, or was reported already.
    """
    began = time.monotonic()
    with transaction.atomic():
        # After a long wait for the database: the agent may have been waiting for the same lock.
        if time.monotonic() - began > MAX_LOCK_SECONDS:
            return False
        # Several processes watch the heartbeats: only the one whose UPDATE changes the row reports.
        lost = Host.objects.filter(pk=host_id, heartbeat_at=heartbeat_at, is_watched=True)
        if not lost.update(is_watched=False):
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
    return Host.objects.filter(is_default=True).values_list("heartbeat_at", flat=True).first()
