"""Which host is this one, and whose agent is silent."""

from __future__ import annotations

import platform
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from .models import Host

HEARTBEAT_SECONDS = 5
SILENT_AFTER = timedelta(seconds=3 * HEARTBEAT_SECONDS + 5)


def this_host() -> Host:
    """The row of this machine, made on first use; the first one ever becomes the default host."""
    with transaction.atomic():
        host, _ = Host.objects.get_or_create(
            name=settings.HOST_NAME,
            defaults={"is_default": not Host.objects.exists(), "platform": platform.platform()},
        )
    return host


def is_local(host: Host | None) -> bool:
    """Whether programs of `host` run on this machine; None means the default host."""
    if host is not None:
        return host.name == settings.HOST_NAME
    default = Host.objects.filter(is_default=True).values_list("name", flat=True).first()
    return default in (None, settings.HOST_NAME)


def is_alive(heartbeat_at: datetime | None, now: datetime) -> bool:
    return heartbeat_at is not None and now - heartbeat_at < SILENT_AFTER


def default_heartbeat() -> datetime | None:
    """The heartbeat of the host that runs the programs which name none."""
    return Host.objects.filter(is_default=True).values_list("heartbeat_at", flat=True).first()
