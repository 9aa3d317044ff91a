"""Retention: deletes rows that are older than the settings keep, in short transactions.

Rows of one period are stored together, so deleting the oldest period frees whole pages, which SQLite reuses: the
file does not grow beyond what the retention time needs.
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

CHECK_SECONDS = 60.0
SLICE_ROWS = 5000  # about 5 ms
SLICE_RECORDS = 200  # rows whose deletion cascades
SLICE_PERIODS = 500
CLOCK_JUMP_SECONDS = 3600.0
PAUSE_SECONDS = 86_400.0


class ClockGuard:
    """Pauses deletion for a day after the clock jumped forward: a wrong clock must not delete the history."""

    def __init__(
        self, wall: Callable[[], float] = time.time, since_boot: Callable[[], float] = platform.now
    ) -> None:
        self._wall = wall
        self._since_boot = since_boot
        self._offset = wall() - since_boot()
        self._paused_until = 0.0

    def may_delete(self) -> bool:
        now = self._since_boot()
        offset = self._wall() - now
        if offset > self._offset + CLOCK_JUMP_SECONDS:
            log.warning(
                "retention.clock_jumped", seconds=round(offset - self._offset), pause_seconds=PAUSE_SECONDS
            )
            self._paused_until = now + PAUSE_SECONDS
        self._offset = offset
        return now >= self._paused_until


@dataclass(frozen=True)
class ProgramRemoval:
    """Progress in deleting a removed program's rows: continue with this tier, from this period on."""

    program: int
    tier: Tier = TIERS[0]
    period: int = 0


class Retention:
    """A service of the agent. Each slice is deleted in its own transaction, in the journal's writer thread."""

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
        self._removal: ProgramRemoval | None = None

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._put_batch(self.step)
            try:
                await asyncio.wait_for(stop.wait(), CHECK_SECONDS)
            except TimeoutError:
                continue

    def step(self) -> None:
        """Deletes one slice and queues itself again until nothing is left to delete."""
        if self._guard.may_delete() and self._delete_slice(int(self._wall())):
            transaction.on_commit(lambda: self._put_batch(self.step))

    def _delete_slice(self, now: int) -> bool:
        return (
            any(_delete_oldest_period(tier, now - tier.kept_seconds) for tier in TIERS)
            or any(_delete_host_rows(tier, now - tier.kept_seconds) for tier in TIERS)
            or any(expire_slice(datetime.fromtimestamp(now, UTC), SLICE_RECORDS).values())
            or self._delete_removed_program(now)
        )

    def _delete_removed_program(self, now: int) -> bool:
        """Deletes some rows of a removed program. True while there may be more."""
        removal = self._removal or _next_removal()
        if removal is None:
            return False
        tier = removal.tier
        first = removal.period or tier.period_of(now - tier.kept_seconds) - tier.period_seconds
        periods = range(first, now + tier.period_seconds, tier.period_seconds)[:SLICE_PERIODS]
        tier.model._default_manager.filter(period__in=periods, program=removal.program).delete()
        if len(periods) == SLICE_PERIODS:
            next_removal = replace(removal, period=periods.stop)
        elif tier in COARSER:
            next_removal = ProgramRemoval(removal.program, COARSER[tier])
        else:
            RecordedProgram.objects.filter(pk=removal.program).delete()
            next_removal = None
        transaction.on_commit(partial(self._set_removal, next_removal))
        return True

    def _set_removal(self, removal: ProgramRemoval | None) -> None:
        self._removal = removal


def _next_removal() -> ProgramRemoval | None:
    gone = RecordedProgram.objects.exclude(pk__in=Program.everything.values("pk")).first()
    return ProgramRemoval(gone.pk) if gone else None


def _delete_oldest_period(tier: Tier, before: int) -> int:
    """Deletes up to a slice of the oldest period if all of it is before `before`. Returns the number of rows."""
    rows = tier.model._default_manager
    oldest = rows.order_by("period").values_list("period", flat=True).first()
    if oldest is None or oldest + tier.period_seconds > before:
        return 0
    # Cut between programs, because DELETE has no LIMIT in portable SQL.
    slice_ = rows.filter(period=oldest)
    next_slice = (
        slice_.order_by("program_id", "timestamp").values_list("program_id", flat=True)[SLICE_ROWS:].first()
    )
    if next_slice is not None:
        slice_ = slice_.filter(program__lt=next_slice)
    return slice_.delete()[0]


def _delete_host_rows(tier: Tier, before: int) -> int:
    # Host rows are too few to slice. Open periods without rows can no longer be rolled up.
    gone, _ = OpenPeriod.objects.filter(tier=tier.name, period__lt=before - tier.period_seconds).delete()
    for host in Host.objects.values_list("pk", flat=True):
        gone += HostUsage.objects.filter(host=host, step=tier.step, timestamp__lt=before).delete()[0]
    return gone


# --- Events, alerts and audit entries: EVENT_DAYS -------------------------------------------------------


def expire_events(before: datetime, limit: int) -> int:
    # Incidents and deliveries are deleted by cascade.
    oldest = ProgramEvent.objects.filter(timestamp__lt=before).order_by("timestamp", "seq")
    pks = list(oldest.values_list("pk", flat=True)[:limit])
    ProgramEvent.objects.filter(pk__in=pks).delete()
    return len(pks)


def expire_alerts(before: datetime, limit: int) -> int:
    # Firing alerts stay, however old.
    oldest = Alert.objects.filter(resolved_at__lt=before).order_by("resolved_at")
    pks = list(oldest.values_list("pk", flat=True)[:limit])
    Alert.objects.filter(pk__in=pks).delete()
    return len(pks)


def expire_audit_entries(before: datetime, limit: int) -> int:
    oldest = AuditEntry.objects.filter(at__lt=before).order_by("at", "pk")
    pks = list(oldest.values_list("pk", flat=True)[:limit])
    AuditEntry.objects.filter(pk__in=pks).expire()
    return len(pks)


register_expiry("events", "EVENT_DAYS", expire_events)
register_expiry("alerts", "EVENT_DAYS", expire_alerts)
register_expiry("audit entries", "EVENT_DAYS", expire_audit_entries)
