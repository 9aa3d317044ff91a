"""The agent's sign of life in the database. Who watches for its absence is `monitor_site.jobs.lost_agents`."""

from __future__ import annotations

import os
import platform
from datetime import datetime
from enum import Enum, auto
from typing import Any, NamedTuple

from django.conf import settings

from programs import events
from programs.models import Host

LONGEST_PLATFORM = 120  # as the column


class Kind(Enum):
    """The first of an agent's life, one of many, or its good-bye."""

    FIRST = auto()
    NEXT = auto()
    LAST = auto()


class Beat(NamedTuple):
    at: datetime
    kind: Kind


def save(host_id: int, beat: Beat | None, columns: dict[str, Any]) -> None:
    """Writes the host's row, in the caller's transaction.

    An agent that was held up (stopped by a signal, no database) may have been told lost meanwhile. What ends that
    is `agent.started`, so it says so again.
    """
    host = Host.objects.filter(pk=host_id)
    if beat:
        columns = {**columns, "heartbeat_at": beat.at, "is_watched": beat.kind is not Kind.LAST}
        if beat.kind is Kind.FIRST:
            columns |= {"version": settings.VERSION, "platform": platform.platform()[:LONGEST_PLATFORM]}
        if beat.kind is Kind.NEXT:
            if host.filter(is_watched=True).update(**columns):
                return
            _heard_again(host.get(), beat.at)
    host.update(**columns)


def _heard_again(host: Host, now: datetime) -> None:
    data: dict[str, Any] = {"host": host.name, "pid": os.getpid()}
    if host.heartbeat_at:
        data["silent_seconds"] = round(max(0.0, (now - host.heartbeat_at).total_seconds()), 1)
    events.record("agent.started", actor=events.AGENT, data=data)
