"""Forgets what is older than people want it kept, in slices that hold up nobody.

Rows of one period lie together, so deleting the oldest frees whole pages, which SQLite then fills again: the file
grows to what the kept time needs and no further.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import structlog
from django.db import transaction

from core.models import AuditEntry
from core.retention import expire_slice, register_expiry
from metrics.models import Alert, HostUsage, OpenPeriod, RecordedProgram
from programs.models import Host, Program, ProgramEvent
from programs.supervisor import platform

from .tiers import COARSER, TIERS, Tier

log = structlog.get_logger(__name__)

LOOK_SECONDS = 60.0
SLICE_ROWS = 5000  # some 5 ms
SLICE_FACTS = 200  # rows that take others with them
SLICE_PERIODS = 500
JUMP_SECONDS = 3600.0
REST_SECONDS = 86_400.0


class ClockGuard:
    """A clock that was set forward by mistake must not cost the history: nothing is deleted for a day after."""

    def __init__(
        self, wall: Callable[[], float] = time.time, since_boot: Callable[[], float] = platform.now
    ) -> None:
        self._wall = wall
        self._since_boot = since_boot
        self._offset = wall() - since_boot()
        self._rests_until = 0.0

    def may_delete(self) -> bool:
        now = self._since_boot()
        offset = self._wall() - now
        if offset > self._offset + JUMP_SECONDS:
            log.warning("retention.clock_jumped", seconds=round(offset - self._offset), rests_seconds=REST_SECONDS)
            self._rests_until = now + REST_SECONDS
        self._offset = offset
        return now >= self._rests_until


@dataclass(frozen=True)
class Removal:
    """How far the rows of a program that is gone are removed: next is this tier, from this period on."""

    program: int
    tier: Tier = TIERS[0]
    period: int = 0


class Retention:
    """A service of the agent. The deleting happens in the journal's thread, each slice in its own transaction."""

    def __init__(
        self,
        put_batch: Callable[[Callable[[], None]], None],
        *,
        wall: Callable[[], float] = time.time,
        guard: ClockGuard | None = None,
    ) -> None:
        self._put_batch = put_batch
        self._wall = wall
        self._guard = guard or ClockGuard(wall)
        self._removal: Removal | None = None

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._put_batch(self.step)
            try:
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
            except TimeoutError:
                continue

    def step(self) -> None:
        """One slice; puts itself again until nothing is left to do."""
        if self._guard.may_delete() and self._delete_some(int(self._wall())):
            transaction.on_commit(lambda: self._put_batch(self.step))

    def _delete_some(self, now: int) -> bool:
        return (
            any(_forget_oldest(tier, now - tier.kept_seconds) for tier in TIERS)
            or any(_forget_of_hosts(tier, now - tier.kept_seconds) for tier in TIERS)
            or any(expire_slice(datetime.fromtimestamp(now, UTC), SLICE_FACTS).values())
            or self._forget_removed(now)
        )

    def _forget_removed(self, now: int) -> bool:
        """Some rows of a program that is gone, wherever they are; True as long as there may be more."""
        removal = self._removal or _removed_program()
        if removal is None:
            return False
        tier = removal.tier
        first = removal.period or tier.period_of(now - tier.kept_seconds) - tier.period_seconds
        periods = range(first, now + tier.period_seconds, tier.period_seconds)[:SLICE_PERIODS]
        tier.model._default_manager.filter(period__in=periods, program=removal.program).delete()
        if len(periods) == SLICE_PERIODS:
            following = replace(removal, period=periods.stop)
        elif tier in COARSER:
            following = Removal(removal.program, COARSER[tier])
        else:
            RecordedProgram.objects.filter(pk=removal.program).delete()
            following = None
        transaction.on_commit(partial(self._go_on, following))
        return True

    def _go_on(self, removal: Removal | None) -> None:
        self._removal = removal


def _removed_program() -> Removal | None:
    gone = RecordedProgram.objects.exclude(pk__in=Program.everything.values("pk")).first()
    return Removal(gone.pk) if gone else None


def _forget_oldest(tier: Tier, before: int) -> int:
    """Up to a slice of the oldest period, if all of it lies before that moment. How many rows went."""
    rows = tier.model._default_manager
    oldest = rows.order_by("period").values_list("period", flat=True).first()
    if oldest is None or oldest + tier.period_seconds > before:
        return 0
    slice_ = rows.filter(period=oldest)
    next_slice = (
        slice_.order_by("program_id", "timestamp").values_list("program_id", flat=True)[SLICE_ROWS:].first()
    )
    if next_slice is not None:
        slice_ = slice_.filter(program__lt=next_slice)
    return slice_.delete()[0]


def _forget_of_hosts(tier: Tier, before: int) -> int:
    """A row an interval: not worth slicing. Marks of what can no longer be built go as well."""
    gone, _ = OpenPeriod.objects.filter(tier=tier.name, period__lt=before - tier.period_seconds).delete()
    for host in Host.objects.values_list("pk", flat=True):
        gone += HostUsage.objects.filter(host=host, step=tier.step, timestamp__lt=before).delete()[0]
    return gone


# --- Events, alerts and audit entries: EVENT_DAYS -------------------------------------------------------


def events(before: datetime, most: int) -> int:
    """Incidents and deliveries go with their event."""
    oldest = ProgramEvent.objects.filter(timestamp__lt=before).order_by("timestamp", "seq")
    pks = list(oldest.values_list("pk", flat=True)[:most])
    ProgramEvent.objects.filter(pk__in=pks).delete()
    return len(pks)


def alerts(before: datetime, most: int) -> int:
    """One that lasts stays, however old."""
    oldest = Alert.objects.filter(resolved_at__lt=before).order_by("resolved_at")
    pks = list(oldest.values_list("pk", flat=True)[:most])
    Alert.objects.filter(pk__in=pks).delete()
    return len(pks)


def audit_entries(before: datetime, most: int) -> int:
    oldest = AuditEntry.objects.filter(at__lt=before).order_by("at", "pk")
    pks = list(oldest.values_list("pk", flat=True)[:most])
    AuditEntry.objects.filter(pk__in=pks).expire()
    return len(pks)


register_expiry("events", "EVENT_DAYS", events)
register_expiry("alerts", "EVENT_DAYS", alerts)
register_expiry("audit entries", "EVENT_DAYS", audit_entries)
