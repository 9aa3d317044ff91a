"""How fast one endpoint may be sent to: a leaky bucket kept as one moment, so that it fits a column. Pure.

`paced_until` is when the bucket would be empty again if nothing more came. It may lie ahead of now by what fits
into a fifth of a second's worth of messages (at least one), which lets small bursts through at once.
"""

from __future__ import annotations

from datetime import datetime, timedelta

BURST_SHARE = 0.2


def ready_at(paced_until: datetime | None, rate: float, now: datetime) -> datetime:
    """When the next message may go; not before `now`."""
    if paced_until is None:
        return now
    return max(now, paced_until - _room(rate) + timedelta(seconds=1 / rate))


def allowed(paced_until: datetime | None, rate: float, now: datetime) -> int:
    """How many messages may go now."""
    used = max(paced_until - now, timedelta()) if paced_until else timedelta()
    # A millionth more: moments are rounded to microseconds.
    return max(0, int((_room(rate) - used).total_seconds() * rate * 1.000001 + 1e-6))


def after(paced_until: datetime | None, rate: float, now: datetime, sent: int) -> datetime:
    return max(paced_until or now, now) + timedelta(seconds=sent / rate)


def _room(rate: float) -> timedelta:
    return timedelta(seconds=max(1.0, rate * BURST_SHARE) / rate)
