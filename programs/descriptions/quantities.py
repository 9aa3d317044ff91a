"""Durations, ordinals, counts and amounts as text."""

from __future__ import annotations

import math
from collections.abc import Callable

DURATION_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
TENTHS_BELOW = 10


def duration(seconds: float) -> str:
    """`450 ms`, `4.2 s`, `5 min 3 s`, `2 d 4 h`: at most two units, the second only if it is not 0."""
    if not math.isfinite(seconds):
        return "an unlimited time"
    if seconds < 0:
        return "0 s"
    if 0 < seconds < 0.9995:
        return f"{max(round(seconds * 1000), 1)} ms"
    if seconds < TENTHS_BELOW - 0.05:
        return f"{round(seconds, 1):g} s"
    return _in_units(round(seconds))


def _in_units(seconds: int) -> str:
    index = next(index for index, (size, _) in enumerate(DURATION_UNITS) if seconds >= size)
    size, name = DURATION_UNITS[index]
    count, rest = divmod(seconds, size)
    if index + 1 == len(DURATION_UNITS):
        return f"{count} {name}"
    smaller, smaller_name = DURATION_UNITS[index + 1]
    more = rest // smaller
    return f"{count} {name} {more} {smaller_name}" if more else f"{count} {name}"


def ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


BYTE_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def byte_count(count: float) -> str:
    size, unit = float(count), 0
    while size >= 1024 and unit < len(BYTE_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {BYTE_UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.1f} {BYTE_UNITS[unit]}"


def _plain(value: float) -> str:
    return f"{round(value, 2):.15g}"


FORMATS: dict[str, Callable[[float], str]] = {
    "percent": lambda value: f"{_plain(value)} %",
    "bytes": byte_count,
    "bytes_per_second": lambda value: f"{byte_count(value)}/s",
    "count": _plain,
}


def quantity(value: float, unit: str = "count") -> str:
    """`97.5 %`, `1.5 GB`, `10.0 MB/s`; only the number for an unknown unit."""
    return FORMATS.get(unit, _plain)(value)
