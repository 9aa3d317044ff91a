"""Detects lost agents by their heartbeats. Runs in the jobs process, which lives when an agent does not.

It uses only the monotonic clock, which stands still while the machine sleeps: an agent is lost when this process
ran long enough and saw no new heartbeat. Power cuts, suspended laptops, clock changes and database outages do
not count.
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
CHECK_SECONDS = float(hosts.HEARTBEAT_SECONDS)
MAX_GAP_SECONDS = 3 * CHECK_SECONDS  # between two checks; a longer gap says nothing about the agents
LOST_AFTER_SECONDS = hosts.SILENT_AFTER.total_seconds()


class SeenHeartbeat(NamedTuple):
    heartbeat_at: datetime
    first_seen_at: float  # monotonic seconds


class LostAgentDetector:
    def __init__(self, wall_clock: Callable[[], datetime] = timezone.now) -> None:
        self._wall_clock = wall_clock
        self._seen: dict[int, SeenHeartbeat] = {}
        self._checked_at = float("-inf")
        self._newest_seen_at: float | None = None  # the newest heartbeat of any agent

    def reset(self) -> None:
        # Heartbeats since the last check may have been missed.
        self._seen.clear()
        self._newest_seen_at = None

    def all_agents_lost(self, now: float) -> bool:
        return self._newest_seen_at is not None and now - self._newest_seen_at >= LOST_AFTER_SECONDS

    def check(self, now: float) -> None:
        """Call it as often as you like; it checks every CHECK_SECONDS. Raises database errors."""
        if now - self._checked_at < CHECK_SECONDS:
            return
        if now - self._checked_at > MAX_GAP_SECONDS:
            self.reset()
        self._checked_at = now
        for host in Host.objects.all():
            self._check_host(host, now)

    def _check_host(self, host: Host, now: float) -> None:
        seen = self._seen.get(host.pk)
        if host.heartbeat_at is None:  # no agent ever ran there
            return
        if seen is None or seen.heartbeat_at != host.heartbeat_at:
            self._seen[host.pk] = SeenHeartbeat(host.heartbeat_at, now)
            self._newest_seen_at = now
        elif host.is_watched and now - seen.first_seen_at >= LOST_AFTER_SECONDS:
            del self._seen[host.pk]
            if hosts.report_lost(host.pk, host.heartbeat_at, actor=ACTOR, now=self._wall_clock()):
                log.error("agent.lost", host=host.name, since=host.heartbeat_at.isoformat())
