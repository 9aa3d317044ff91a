"""Series of programs out of the cache, where what they were made from is settled."""

from __future__ import annotations

from core import cache

from . import queries
from .measures import Programs
from .queries import Chosen, Plan, Series
from .revisions import SETTLED_SECONDS, settled_revision

KIND = "metrics"


def series(source: Programs, asked: Plan, chosen: Chosen, now: int) -> dict[int, Series]:
    """As `queries.series`. One query more for a time that may be settled; that one alone when it was asked."""
    revision = settled_revision(asked.end) if asked.end <= now - SETTLED_SECONDS else None
    if revision is None:
        return queries.series(source, asked, chosen, now)
    key = cache.key_of("series", revision, source.ids, asked.start, asked.end, asked.step, asked.tier.name, chosen)
    known = cache.fetch(KIND, key)
    if known is not None:
        return {int(owner): found for owner, found in known.items()}
    found = queries.series(source, asked, chosen, now)
    cache.keep(KIND, key, found)
    return found
