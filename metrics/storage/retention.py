"""Retention: deletes rows that are older than the settings keep, in short transactions.

Rows of one period are stored together, so deleting the oldest period frees whole pages, which SQLite reuses: the
file does not grow beyond what the retention time needs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import structlog
from django.conf import settings
from django.db import connection, transaction

from core.models import AuditEntry
from core.retention import (
    ClockError,
    ClockReading,
    Permit,
    current_state,
    expire_slice,
    read_clock,
    register_expiry,
    request_permit,
)
from metrics.models import Alert, HostUsage, OpenPeriod, RecordedProgram, ResourceUsage
from programs.models import Host, Program, ProgramEvent

from .tiers import COARSER, TIERS, Tier

log = structlog.get_logger(__name__)

TICK_SECONDS = 5.0
SLICE_ROWS = 10_000  # about 10 ms; twice what 10,000 programs record in a tick
SLICE_RECORDS = 200  # rows whose deletion cascades
SLICE_PERIODS = 500
WARN_SECONDS = 3600.0
START_MARGIN_SECONDS = 60

DeleteSlice = Callable[[Permit], bool]


@dataclass(frozen=True)
class ProgramRemoval:
    """Progress in deleting a removed program's rows: continue with this tier, from this period on."""

    program: int
    tier: Tier = TIERS[0]
    period: int = 0


class Retention:
    """A service of the agent. A tick deletes at most one slice of each kind, so that a mistake goes no faster.

    Each slice is deleted in its own transaction, in the journal's writer thread.
    """

    def __init__(
        self,
        put_batch: Callable[[Callable[[], None]], None],
        *,
        read_clock: Callable[[], ClockReading] = read_clock,
    ) -> None:
        self._put_batch = put_batch
        self._read_clock = read_clock
        self._started_at = int(time.time())
        self._removal: ProgramRemoval | None = None
        self._warned = (ClockError, -WARN_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._put_batch(self.step)
            try:
                await asyncio.wait_for(stop.wait(), TICK_SECONDS)
            except TimeoutError:
                continue

    def step(self) -> None:
        """One tick, if this agent may delete now."""
        is_default = Host.objects.filter(name=settings.HOST_NAME, is_default=True).exists()
        # A server's clock is another witness; the only clock of SQLite is compared with what was recorded before.
        is_first = connection.vendor == "sqlite" and current_state().seen_at is None
        newest = newest_record(self._started_at - START_MARGIN_SECONDS) if is_first else None
        try:
            permit = request_permit(self._read_clock(), newest, is_default_host=is_default)
        except ClockError as error:
            self._warn(error)
            return
        if permit:
            self._delete_next(permit, [*map(_tier_slice, TIERS), *map(_host_slice, TIERS), *self._other_slices()])

    def _warn(self, error: ClockError) -> None:
        kind, at = self._warned
        if kind is not type(error) or time.monotonic() - at > WARN_SECONDS:
            self._warned = (type(error), time.monotonic())
            log.warning("retention.refused", reason=str(error))

    def _delete_next(self, permit: Permit, slices: Sequence[DeleteSlice]) -> None:
        """Runs `slices` up to the first that deletes something. The rest follows in another transaction."""
        for number, delete in enumerate(slices, 1):
            if delete(permit):
                rest = partial(self._delete_next, permit, slices[number:])
                transaction.on_commit(partial(self._put_batch, rest))
                return

    def _other_slices(self) -> list[DeleteSlice]:
        return [
            lambda permit: bool(expire_slice(permit, SLICE_RECORDS)),
            self._delete_removed_program,
        ]

    def _delete_removed_program(self, permit: Permit) -> bool:
        """Deletes some rows of a removed program. True while there may be more."""
        now = int(permit.now.timestamp())
        removal = self._removal or _next_removal()
        if removal is None:
            return False
        tier = removal.tier
        first = removal.period or tier.period_of(_kept_from(tier, permit)) - tier.period_seconds
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


def newest_record(before: int) -> datetime | None:
    """When the installation recorded something last before this Unix time."""
    point = ResourceUsage.objects.filter(period__lt=before).order_by("-period").values_list("period", flat=True)
    events = ProgramEvent.objects.filter(timestamp__lt=datetime.fromtimestamp(before, UTC)).order_by("-timestamp")
    found = [datetime.fromtimestamp(period, UTC) for period in point[:1]]
    return max([*found, *events.values_list("timestamp", flat=True)[:1]], default=None)


def _kept_from(tier: Tier, permit: Permit) -> int:
    """The Unix time from which on rows of `tier` are kept."""
    return int(permit.now.timestamp()) - permit.kept[tier.kept_setting] * tier.kept_unit


def _tier_slice(tier: Tier) -> DeleteSlice:
    return lambda permit: bool(_delete_oldest_period(tier, _kept_from(tier, permit)))


def _host_slice(tier: Tier) -> DeleteSlice:
    return lambda permit: bool(_delete_host_rows(tier, _kept_from(tier, permit)))


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
    # Open periods without rows can no longer be rolled up.
    expired = OpenPeriod.objects.filter(tier=tier.name, period__lt=before - tier.period_seconds)
    gone = OpenPeriod.objects.filter(pk__in=list(expired.values_list("pk", flat=True)[:SLICE_RECORDS])).delete()[0]
    for host in Host.objects.values_list("pk", flat=True):
        rows = HostUsage.objects.filter(host=host, step=tier.step)
        oldest = rows.filter(timestamp__lt=before).order_by("timestamp").values_list("timestamp", flat=True)
        if last := list(oldest[:SLICE_RECORDS])[-1:]:
            gone += rows.filter(timestamp__lte=last[0]).delete()[0]
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
