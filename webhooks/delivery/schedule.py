"""When to try again. Pure: the clock and the dice are arguments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from core.timeformat import in_utc

JITTER = 0.1
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 86_400.0


def gap(schedule: Sequence[float], tries: int, *, dice: float, retry_after: float = 0.0) -> float | None:
    """Seconds until the next try after `tries` of them; None when the schedule is used up.

    `dice` (0 to 1) makes it up to a tenth longer, never shorter; `retry_after` is what the receiver asked for.
    """
    if not 1 <= tries <= len(schedule):
        return None
    return max(schedule[tries - 1] * (1 + JITTER * dice), retry_after)


def retry_after(header: str, now: datetime) -> float | None:
    """The header's seconds or HTTP date as seconds from `now`, between 1 s and a day; None for nonsense."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:12])
    else:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return None
        seconds = (in_utc(moment) - now).total_seconds()
    return min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT)


def is_expired(event_at: datetime, max_age: float | None, now: datetime) -> bool:
    """Whether an event is too old to be told. None means never."""
    return max_age is not None and now - event_at > timedelta(seconds=max_age)
