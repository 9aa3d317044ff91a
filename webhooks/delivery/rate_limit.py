"""How fast one endpoint may be sent to: a leaky bucket kept as one moment, so that it fits a column. Pure.

`paced_until` is when the bucket would be empty again if nothing more came. It may lie ahead of now by what fits
into a fifth of a second's worth of messages (at least one), which lets small bursts through at once.
"""

from __future__ import annotations

from datetime import datetime, timedelta

BURST_SHARE = 0.2
MOST_ROOMS = 3  # two senders count each for itself while one hands over to the other


def ready_at(paced_until: datetime | None, rate: float, now: datetime) -> datetime:
    """When the next message may go; not before `now`."""
    return max(now, now + _used(paced_until, rate, now) - _room(rate) + timedelta(seconds=1 / rate))


def allowed(paced_until: datetime | None, rate: float, now: datetime) -> int:
    """How many messages may go now."""
    left = _room(rate) - _used(paced_until, rate, now)
    # A millionth more: moments are rounded to microseconds.
    return max(0, int(left.total_seconds() * rate * 1.000001 + 1e-6))


def after(paced_until: datetime | None, rate: float, now: datetime, sent: int) -> datetime:
    return now + _used(paced_until, rate, now) + timedelta(seconds=sent / rate)


def _used(paced_until: datetime | None, rate: float, now: datetime) -> timedelta:
    """What is in the bucket. More than it can hold is from before the clock was set back, or the rate raised."""
    used = max(paced_until - now, timedelta()) if paced_until else timedelta()
    return used if used <= MOST_ROOMS * _room(rate) else timedelta()


def _room(rate: float) -> timedelta:
    return timedelta(seconds=max(1.0, rate * BURST_SHARE) / rate)
