"""Looks whether agents are heard, and tells when one is not.

The guard of the jobs does it because it lives when an agent does not, and can have the news delivered. It trusts
no clock but the one that stands still while the machine sleeps: an agent is lost when this watcher itself was
there and for so long saw no heartbeat come. Hours without power, a suspended laptop, a clock that was set or a
database that was away count for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import structlog
from django.utils import timezone

from programs import hosts
from programs.models import Host

log = structlog.get_logger(__name__)
ACTOR = "jobs"
LOOK_SECONDS = float(hosts.HEARTBEAT_SECONDS)
BLINK_SECONDS = 3 * LOOK_SECONDS  # between two looks: a watcher that was gone for longer has seen nothing
PATIENCE_SECONDS = hosts.SILENT_AFTER.total_seconds()


class Seen(NamedTuple):
    """A heartbeat, and when this watcher first saw it (monotonic seconds)."""

    heartbeat_at: datetime
    at: float


class AgentWatch:
    """`look(now)` when the guard likes, in its own measure of LOOK_SECONDS. Raises what the database raises."""

    def __init__(self, wall: Callable[[], datetime] = timezone.now) -> None:
        self._wall = wall
        self._seen: dict[int, Seen] = {}
        self._looked_at = float("-inf")
        self._heard_at: float | None = None  # the newest sign of any agent

    def forget(self) -> None:
        """Begins anew: what it could have seen since the last look, it may have missed."""
        self._seen.clear()
        self._heard_at = None

    def is_alone(self, now: float) -> bool:
        """Whether no agent at all was heard for as long as it takes to call one lost."""
        return self._heard_at is not None and now - self._heard_at >= PATIENCE_SECONDS

    def look(self, now: float) -> None:
        if now - self._looked_at < LOOK_SECONDS:
            return
        if now - self._looked_at > BLINK_SECONDS:
            self.forget()
        self._looked_at = now
        for host in Host.objects.all():
            self._look_at(host, now)

    def _look_at(self, host: Host, now: float) -> None:
        seen = self._seen.get(host.pk)
        if host.heartbeat_at is None:  # no agent ever
            return
        if seen is None or seen.heartbeat_at != host.heartbeat_at:
            self._seen[host.pk] = Seen(host.heartbeat_at, now)
            self._heard_at = now
        elif host.is_watched and now - seen.at >= PATIENCE_SECONDS:
            del self._seen[host.pk]
            if hosts.report_lost(host.pk, host.heartbeat_at, actor=ACTOR, now=self._wall()):
                log.error("agent.lost", host=host.name, since=host.heartbeat_at.isoformat())
