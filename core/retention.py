"""Retention: who may delete old rows, when, and by which settings (ADR 24). Each app registers its tables.

One agent of the installation deletes, by the time of the database and by the settings of the default host. Nothing
is deleted while the clock cannot be trusted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

from .models import RetentionState

SETTINGS = ("RAW_HOURS", "MINUTE_DAYS", "HOUR_DAYS", "EVENT_DAYS")
MAX_DIFFERENCE_SECONDS = 60.0  # between the clocks of host and database
MAX_JUMP = timedelta(hours=1)  # ahead of the time that passed since the last check, while the machine was up
MAX_ABSENCE = timedelta(days=3)  # since the last check, after which a reboot needs a confirmation
RENEW_AFTER = timedelta(minutes=1)
LEASE = timedelta(minutes=5)
COMMAND = "manage.py retention confirm"
PROC = Path("/proc")

# (before, limit) → number of rows deleted, in the caller's transaction.
Expire = Callable[[datetime, int], int]
_expiries: dict[str, tuple[str, Expire]] = {}


def register_expiry(name: str, setting: str, expire: Expire) -> None:
    """Rows older than the days in `setting` are deleted. `name` is shown to users, such as "grouped errors"."""
    _expiries[name] = (setting, expire)


@dataclass(frozen=True)
class Permit:
    """The permission to delete one slice: the time of the database, and the settings of the installation."""

    now: datetime
    kept: Mapping[str, int]


def expire_slice(permit: Permit, most: int) -> dict[str, int]:
    """Deletes up to `most` rows of each kind. Returns the numbers above 0 by name."""
    gone = {
        name: expire(permit.now - timedelta(days=permit.kept[setting]), most)
        for name, (setting, expire) in _expiries.items()
    }
    return {name: number for name, number in gone.items() if number}


# --- Clocks ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClockReading:
    """`difference`: seconds by which this host is ahead of the database. `boot` is empty where it is not known."""

    now: datetime
    difference: float = 0.0
    boot: str = ""
    uptime: float = 0.0


class ClockError(Exception):
    """The clock cannot be trusted, so nothing may be deleted. The message says why and what to do."""


class ClocksDifferError(ClockError):
    def __init__(self, difference: float) -> None:
        side = "ahead of" if difference > 0 else "behind"
        super().__init__(
            f"The clock of {settings.HOST_NAME} is {abs(difference):,.0f} s {side} the database's: "
            "this host deletes no history until they agree within a minute."
        )


class ClockJumpedError(ClockError):
    """`jump` is None where another process, with another clock, found it."""

    def __init__(self, now: datetime, jump: timedelta | None) -> None:
        seen = f"{_span(jump)} more than expected" if jump else "but the agent saw one that jumped ahead"
        super().__init__(
            f"The clock says {now:%Y-%m-%d %H:%M} UTC, {seen}. No history is deleted. "
            f"If the agent's clock is right, run: {COMMAND}"
        )


def read_clock() -> ClockReading:
    boot, uptime = _boot()
    if connection.vendor == "sqlite":
        return ClockReading(datetime.now(UTC), 0.0, boot, uptime)
    before = time.time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        [now] = cursor.fetchone()
    after, at = time.time(), now.timestamp()
    # A slow answer is no difference: the database read its clock at some time in between.
    difference = after - at if after < at else max(0.0, before - at)
    return ClockReading(now, difference, boot, uptime)


def _boot() -> tuple[str, float]:
    """The kernel's id of this boot and the seconds since, sleep included; ("", 0.0) on other systems."""
    try:
        # Not time.clock_gettime, which a wrapper that shifts the time shifts, too.
        uptime = float((PROC / "uptime").read_text().split()[0])
        return (PROC / "sys/kernel/random/boot_id").read_text().strip(), uptime
    except (OSError, ValueError, IndexError):
        return "", 0.0


def find_jump(state: RetentionState, clock: ClockReading) -> timedelta | None:
    """How far the clock is ahead of what passed since the last check, if that is too far."""
    if state.seen_at is None:
        return None
    if not _same_boot(state, clock):
        # The machine may have been off: a short absence is taken as that.
        absence = clock.now - state.seen_at
        return absence if absence > MAX_ABSENCE else None
    jump = _ahead(state, clock)
    return jump if jump > MAX_JUMP else None


def _same_boot(state: RetentionState, clock: ClockReading) -> bool:
    return bool(clock.boot) and clock.boot == state.boot and clock.uptime >= state.uptime


def _ahead(state: RetentionState, clock: ClockReading) -> timedelta:
    passed = timedelta(seconds=clock.uptime - state.uptime) if _same_boot(state, clock) else timedelta()
    return clock.now - (state.seen_at or clock.now) - passed


# --- The permission -------------------------------------------------------------------------------------


def settings_here() -> dict[str, int]:
    return {name: getattr(settings, name) for name in SETTINGS}


def request_permit(clock: ClockReading, newest_before: datetime | None, *, is_default_host: bool) -> Permit | None:
    """For the agent of this host, in a transaction: None if another agent deletes, or no settings are stored.

    `newest_before` is when this installation recorded something last before this agent started: what the clock is
    compared with at the first check ever. Raises ClockError.
    """
    state = _stored_state()
    if is_default_host and state.kept != settings_here():
        state.kept = settings_here()
        RetentionState.objects.filter(pk=state.pk).update(kept=state.kept)
    if abs(clock.difference) > MAX_DIFFERENCE_SECONDS:
        raise ClocksDifferError(clock.difference)
    since = clock.now - state.renewed_at if state.renewed_at else LEASE
    is_ours = state.owner == settings.HOST_NAME
    if not is_ours and timedelta() <= since < LEASE:
        return None
    if not is_ours or not timedelta() <= since < RENEW_AFTER:
        locked = _locked_state()
        if locked is None or (locked.owner, locked.renewed_at) != (state.owner, state.renewed_at):
            return None  # another agent was faster
        _renew(state, clock, newest_before)
    if state.held_since or find_jump(state, clock):
        raise _hold(state, clock)
    return Permit(clock.now, state.kept) if state.kept else None


def current_state() -> RetentionState:
    """Not stored before the first agent."""
    return RetentionState.objects.filter(pk=RetentionState.ONLY).first() or RetentionState(pk=RetentionState.ONLY)


def _stored_state() -> RetentionState:
    return RetentionState.objects.get_or_create(pk=RetentionState.ONLY)[0]


def _locked_state() -> RetentionState | None:
    rows = RetentionState.objects.all()
    if connection.features.has_select_for_update_skip_locked:
        # Never wait: a host that vanished in a transaction must not stop the writers of others.
        rows = rows.select_for_update(skip_locked=True)
    return rows.first()


def _renew(state: RetentionState, clock: ClockReading, newest_before: datetime | None) -> None:
    state.owner, state.renewed_at = settings.HOST_NAME, clock.now
    state.seen_at = state.seen_at or newest_before
    if find_jump(state, clock) is None:
        state.held_since = None
        # A clock that was turned back may be set right again later, which is no jump.
        if state.seen_at is None or _ahead(state, clock) > -MAX_JUMP:
            _trust(state, clock)
    state.save(update_fields=["owner", "renewed_at", "seen_at", "boot", "uptime", "held_since"])


def _trust(state: RetentionState, clock: ClockReading) -> None:
    state.seen_at, state.boot, state.uptime = clock.now, clock.boot, clock.uptime


def _hold(state: RetentionState, clock: ClockReading) -> ClockJumpedError:
    if state.held_since is None:
        state.held_since = clock.now
        # Kept although the caller's transaction deletes nothing: the doctor reads it.
        RetentionState.objects.filter(pk=state.pk).update(held_since=clock.now)
    return ClockJumpedError(clock.now, find_jump(state, clock))


def confirm(clock: ClockReading) -> None:
    """A person says that the clock is right. Raises ClocksDifferError."""
    if abs(clock.difference) > MAX_DIFFERENCE_SECONDS:
        raise ClocksDifferError(clock.difference)
    with transaction.atomic():
        state = _stored_state()
        _trust(state, clock)
        state.held_since = None
        state.save(update_fields=["seen_at", "boot", "uptime", "held_since"])


def deletion_time(clock: ClockReading) -> datetime | None:
    """The time by which another process may delete its own old rows. None before an agent checked the clock.

    Raises ClockError.
    """
    if abs(clock.difference) > MAX_DIFFERENCE_SECONDS:
        raise ClocksDifferError(clock.difference)
    state = current_state()
    if state.held_since or find_jump(state, clock):
        raise ClockJumpedError(clock.now, find_jump(state, clock))
    return clock.now if state.seen_at else None


def _span(length: timedelta) -> str:
    return f"{length.days:,} days" if length.days > 1 else f"{length.total_seconds() / 3600:,.1f} hours"
