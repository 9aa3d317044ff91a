"""Times and counts as people say them."""

from __future__ import annotations

import math

UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
SHOWN_WITH_TENTHS = 10


def duration(seconds: float) -> str:
    """`450 ms`, `4.2 s`, `5 min 3 s`, `3 h 12 min`, `2 d 4 h`: at most two units, the second left out when 0."""
    if not math.isfinite(seconds):
        return "a time without end"
    if seconds < 0:
        return "0 s"
    if 0 < seconds < 0.9995:
        return f"{max(round(seconds * 1000), 1)} ms"
    if seconds < SHOWN_WITH_TENTHS - 0.05:
        return f"{round(seconds, 1):g} s"
    return _in_units(round(seconds))


def _in_units(seconds: int) -> str:
    place = next(place for place, (size, _) in enumerate(UNITS) if seconds >= size)
    size, name = UNITS[place]
    count, rest = divmod(seconds, size)
    if place + 1 == len(UNITS):
        return f"{count} {name}"
    smaller, smaller_name = UNITS[place + 1]
    more = rest // smaller
    return f"{count} {name} {more} {smaller_name}" if more else f"{count} {name}"


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `3rd`, `11th`."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
