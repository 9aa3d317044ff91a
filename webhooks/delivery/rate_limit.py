"""Rate limit of an endpoint: a leaky bucket stored as one timestamp, so that it fits in a column. Pure.

`paced_until` is when the bucket will be empty if nothing more is sent. The bucket holds what the rate allows in a
fifth of a second, at least one message, so small bursts go out at once.
"""

from __future__ import annotations

from datetime import datetime, timedelta

BURST_SHARE = 0.2
MAX_BURSTS = 3  # two workers count separately while one takes over from the other


def ready_at(paced_until: datetime | None, rate: float, now: datetime) -> datetime:
    """When the next message may be sent; not before `now`."""
    return max(now, now + _level(paced_until, rate, now) - _capacity(rate) + timedelta(seconds=1 / rate))


def available(paced_until: datetime | None, rate: float, now: datetime) -> int:
    left = _capacity(rate) - _level(paced_until, rate, now)
    # A millionth more: timestamps are rounded to microseconds, which must not cost a message.
    return max(0, int(left.total_seconds() * rate * 1.000001 + 1e-6))


def consume(paced_until: datetime | None, rate: float, now: datetime, sent: int) -> datetime:
    """The new `paced_until` after `sent` messages."""
    return now + _level(paced_until, rate, now) + timedelta(seconds=sent / rate)


def _level(paced_until: datetime | None, rate: float, now: datetime) -> timedelta:
    level = max(paced_until - now, timedelta()) if paced_until else timedelta()
    # An impossibly full bucket dates from before the clock was set back or the rate was raised: start empty.
    return level if level <= MAX_BURSTS * _capacity(rate) else timedelta()


def _capacity(rate: float) -> timedelta:
    return timedelta(seconds=max(1.0, rate * BURST_SHARE) / rate)
