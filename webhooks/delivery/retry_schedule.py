"""Retry schedule: how long to wait before the next attempt, and when an event has expired.

Pure: clock and jitter are arguments. The default schedule is `models.DEFAULT_RETRY_SCHEDULE`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from core.timeformat import in_utc

MAX_JITTER = 0.1
MIN_RETRY_AFTER, MAX_RETRY_AFTER = 1.0, 86_400.0
NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
MAX_DIGITS = 12  # far above the maximum


def retry_delay(
    schedule: Sequence[float], attempts: int, *, jitter: float, retry_after: float = 0.0
) -> float | None:
    """Seconds until the next attempt after `attempts` of them; None when the schedule is exhausted.

    `jitter` (0 to 1) makes the delay up to a tenth longer, never shorter. `retry_after` is the minimum that the
    receiver asked for.
    """
    if not 1 <= attempts <= len(schedule):
        return None
    # Retry-After can only lengthen the delay: the schedule belongs to our user.
    return max(schedule[attempts - 1] * (1 + MAX_JITTER * jitter), retry_after)


def parse_retry_after(header: str, now: datetime) -> float | None:
    """Seconds from `now`, between 1 s and a day, from a number or an HTTP date; None for anything else.

    The longest wait counts if the header was sent more than once, so that its values are joined with commas.
    """
    # The comma of a date separates the name of the day, which says nothing new.
    found = [seconds for part in header.split(",") if (seconds := _seconds(part.strip(), now)) is not None]
    return clamp_wait(max(found)) if found else None


def clamp_wait(seconds: float) -> float:
    return min(max(seconds, MIN_RETRY_AFTER), MAX_RETRY_AFTER)


def _seconds(text: str, now: datetime) -> float | None:
    # Fractions are not in RFC 9110, but services send them. Longer numbers would be slow to parse.
    if NUMBER.fullmatch(text):
        return float(text[:MAX_DIGITS])
    try:
        return (in_utc(parsedate_to_datetime(text)) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None


def is_expired(event_at: datetime, max_age: float | None, now: datetime) -> bool:
    """Whether the event is older than `max_age` seconds. None: events never expire."""
    return max_age is not None and now - event_at > timedelta(seconds=max_age)
