"""Amounts with their units, as people write them."""

from __future__ import annotations

from collections.abc import Callable

BYTE_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def byte_count(count: float) -> str:
    """1536 as `1.5 KB`."""
    size, unit = float(count), 0
    while size >= 1024 and unit < len(BYTE_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {BYTE_UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.1f} {BYTE_UNITS[unit]}"


def _plain(value: float) -> str:
    return f"{round(value, 2):.15g}"


UNITS: dict[str, Callable[[float], str]] = {
    "percent": lambda value: f"{_plain(value)} %",
    "bytes": byte_count,
    "bytes_per_second": lambda value: f"{byte_count(value)}/s",
    "count": _plain,
}


def quantity(value: float, unit: str = "count") -> str:
    """`97.5 %`, `1.5 GB`, `10.0 MB/s`; the bare number for a unit that nobody knows."""
    return UNITS.get(unit, _plain)(value)
