"""Deletes old rows. Each app registers its tables; the agent deletes a slice at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings

# (before, limit) → number of rows deleted, in the caller's transaction.
Expire = Callable[[datetime, int], int]
_expiries: dict[str, tuple[str, Expire]] = {}


def register_expiry(name: str, setting: str, expire: Expire) -> None:
    """Rows older than the days in `setting` are deleted. `name` is shown to users, such as "grouped errors"."""
    _expiries[name] = (setting, expire)


def expire_slice(now: datetime, most: int) -> dict[str, int]:
    """Deletes up to `most` rows of each kind. Returns the numbers above 0 by name."""
    gone = {
        name: expire(now - timedelta(days=getattr(settings, setting)), most)
        for name, (setting, expire) in _expiries.items()
    }
    return {name: number for name, number in gone.items() if number}
