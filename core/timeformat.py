"""Timestamps: in UTC, in the machine's time zone, and as text."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import lru_cache
from typing import overload

from django.utils.html import format_html
from django.utils.safestring import SafeString

from .clock import zone

FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999


def in_utc(timestamp: datetime) -> datetime:
    """Takes naive times, which SQLite returns from raw queries, as UTC. Raises OverflowError."""
    return timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp.astimezone(UTC)


def from_unix(seconds: int) -> datetime:
    """Clamps what lies outside the years 1 to 9999."""
    return datetime.fromtimestamp(min(max(seconds, FIRST_SECOND), LAST_SECOND), UTC)


def local_time(timestamp: datetime) -> datetime:
    """An aware timestamp in the time zone of this machine, daylight saving rules included."""
    return timestamp.astimezone(zone(os.environ.get("TZ", "").lstrip(":")))


@overload
def iso(timestamp: datetime, timespec: str = "auto") -> str: ...
@overload
def iso(timestamp: datetime | None, timespec: str = "auto") -> str | None: ...
def iso(timestamp: datetime | None, timespec: str = "auto") -> str | None:
    """ISO 8601 in UTC with a Z, as the API, the websockets and the commands print it. Takes naive times as UTC."""
    return in_utc(timestamp).isoformat(timespec=timespec).replace("+00:00", "Z") if timestamp else None


@lru_cache(maxsize=1024)
def iso_from_unix(seconds: int) -> str:
    """`2026-11-23T12:00:00Z`. Cached: the rows of one tick share their timestamp."""
    return from_unix(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_element(timestamp: datetime) -> SafeString:
    """A `<time>` element in UTC, which `static/monitor/local_times.js` converts to the reader's time zone."""
    return format_html('<time datetime="{}">{}</time>', timestamp.isoformat(), f"{timestamp:%Y-%m-%d %H:%M:%S}")
