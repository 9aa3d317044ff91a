"""Unix seconds, in which history is kept, and times as everybody else has them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def from_unix(seconds: int) -> datetime:
    """Times before the calendar or after it become its first and last day."""
    return datetime.fromtimestamp(min(max(seconds, -62_135_596_800), 253_402_300_799), UTC)


@lru_cache(maxsize=1024)
def iso(seconds: int) -> str:
    """`2026-11-23T12:00:00Z`. Kept, because rows that are read together share their times."""
    return from_unix(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
