"""Series of programs out of the cache, where what they were made from is settled."""

from __future__ import annotations

from core import cache
from metrics.storage.history_revision import SETTLED_SECONDS, settled_revision

from . import series
from .measures import Programs
from .series import Chosen, Plan, Series

KIND = "metrics"


def cached_series(source: Programs, asked: Plan, chosen: Chosen, now: int) -> dict[int, Series]:
    """As `series.series`. One query more for a time that may be settled; that one alone when it was asked."""
    revision = settled_revision(asked.end) if asked.end <= now - SETTLED_SECONDS else None
    if revision is None:
        return series.series(source, asked, chosen, now)
    key = cache.key_of("series", revision, source.ids, asked.start, asked.end, asked.step, asked.tier.name, chosen)
    known = cache.get(KIND, key)
    if known is not None:
        return {int(owner): found for owner, found in known.items()}
    found = series.series(source, asked, chosen, now)
    cache.put(KIND, key, found)
    return found
