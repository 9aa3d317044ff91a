"""Parses durations and timestamps from the command line: `90`, `10m`, `2026-03-01T12:00`, `12:30`."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import datetime, time, timedelta

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhdw]?)")
LONGEST = 31_536_000


def seconds(text: str) -> float:
    """`90`, `90s` or `1.5m`, at most a year. Raises ArgumentTypeError."""
    found = DURATION.fullmatch(text.strip().lower())
    length = float(found[1]) * UNITS[found[2]] if found else -1
    if not 0 <= length <= LONGEST:
        raise ArgumentTypeError(f"{text!r} isn't a duration. Use 30, 10m or 2h, at most a year.")
    return length


def moment(text: str, now: datetime | None = None) -> datetime:
    """`10m` (ago), a date, a date and time, or a time of today; in this machine's zone unless it names one."""
    now = now or datetime.now().astimezone()
    if DURATION.fullmatch(text.strip().lower()):
        return now - timedelta(seconds=seconds(text))
    for read in (datetime.fromisoformat, lambda shown: datetime.combine(now.date(), time.fromisoformat(shown))):
        try:
            found = read(text.strip())
            return found if found.tzinfo else found.astimezone()
        except (ValueError, OverflowError, OSError):
            continue
    raise ArgumentTypeError(f"{text!r} isn't a time. Use 10m (ago), 12:30, 2026-03-01 or 2026-03-01T12:30:00Z.")
