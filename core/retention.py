"""What grows for ever unless somebody forgets it. Each app registers how; the agent does it, a slice at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings

# Deletes up to so many rows that are older than the moment, in the caller's transaction; returns how many went.
Expire = Callable[[datetime, int], int]
_expiries: dict[str, tuple[str, Expire]] = {}


def register_expiry(name: str, setting: str, expire: Expire) -> None:
    """Has rows forgotten that are older than the days in `setting`. `name` says in plain words what they are."""
    _expiries[name] = (setting, expire)


def expire_slice(now: datetime, most: int) -> dict[str, int]:
    """Deletes up to `most` rows of each kind; says how many went, of those of which any did."""
    gone = {
        name: expire(now - timedelta(days=getattr(settings, setting)), most)
        for name, (setting, expire) in _expiries.items()
    }
    return {name: number for name, number in gone.items() if number}
