"""Writes the agent's heartbeat to its host's row. `monitor_site.jobs.lost_agents` reports a lost one."""

from __future__ import annotations

import os
import platform
from datetime import datetime
from enum import Enum, auto
from typing import Any, NamedTuple

from django.conf import settings

from programs import events
from programs.models import Host

MAX_PLATFORM_LENGTH = 120  # of the column


class Kind(Enum):
    """LAST is that of a clean stop: no lost heartbeat is reported after it."""

    FIRST = auto()
    NEXT = auto()
    LAST = auto()


class HostHeartbeat(NamedTuple):
    at: datetime
    kind: Kind


def save(host_id: int, beat: HostHeartbeat | None, columns: dict[str, Any]) -> None:
    """Writes heartbeat and `columns` to the host's row, in the caller's transaction."""
    host = Host.objects.filter(pk=host_id)
    if beat:
        columns = {**columns, "heartbeat_at": beat.at, "is_watched": beat.kind is not Kind.LAST}
        if beat.kind is Kind.FIRST:
            columns |= {"version": settings.VERSION, "platform": platform.platform()[:MAX_PLATFORM_LENGTH]}
        if beat.kind is Kind.NEXT:
            if host.filter(is_watched=True).update(**columns):
                return
            # Reported lost meanwhile, for example because the database was away: this ends the report.
            _record_recovery(host.get(), beat.at)
    host.update(**columns)


def _record_recovery(host: Host, now: datetime) -> None:
    data: dict[str, Any] = {"host": host.name, "pid": os.getpid()}
    if host.heartbeat_at:
        data["silent_seconds"] = round(max(0.0, (now - host.heartbeat_at).total_seconds()), 1)
    events.record("agent.started", actor=events.AGENT, data=data)
