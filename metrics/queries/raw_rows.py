"""The rows of one tier page by page, newest first, without ever counting or skipping any.

Pages are cut by key: the next one begins below the last row of this one, and the primary key leads there. So the
hundred-thousandth page costs what the first one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from metrics.models import Usage
from metrics.storage.tiers import Tier

PER_PAGE = 100
Key = tuple[int, int, int]  # period, program id, timestamp


@dataclass(frozen=True)
class Wanted:
    """Rows of `tier` from `start` up to, not including, `end` (Unix seconds); of one program, or of all."""

    tier: Tier
    start: int
    end: int
    program: int | None = None
    below: Key | None = None


@dataclass(frozen=True)
class Page:
    rows: list[Usage]
    below: Key | None  # where the next page begins; None after the last


def page(wanted: Wanted) -> Page:
    """One query. All programs together come period by period, and in each of these program by program."""
    rows = list(_of_one(wanted) if wanted.program is not None else _of_all(wanted))
    shown = rows[:PER_PAGE]
    return Page(shown, key(shown[-1]) if len(rows) > PER_PAGE else None)


def key(row: Any) -> Key:
    return (row.period, row.program_id, row.timestamp)


def _of_one(wanted: Wanted) -> QuerySet[Any]:
    """Names the periods, for what lies between two rows of one program are those of all the others."""
    end = wanted.end if wanted.below is None else min(wanted.end, wanted.below[2])
    periods = wanted.tier.periods(wanted.start, end)
    rows = wanted.tier.model._default_manager.filter(period__in=periods, program=wanted.program)
    rows = rows.filter(timestamp__gte=wanted.start, timestamp__lt=end)
    return rows.order_by("-period", "-timestamp")[: PER_PAGE + 1]


def _of_all(wanted: Wanted) -> QuerySet[Any]:
    first, last = wanted.tier.period_of(wanted.start), wanted.tier.period_of(wanted.end - 1)
    rows = wanted.tier.model._default_manager.filter(timestamp__gte=wanted.start, timestamp__lt=wanted.end)
    if wanted.below is not None:
        rows = rows.filter(pk__lt=wanted.below)
        # This follows from the key, but SQLite begins where a single plain condition says.
        last = min(last, wanted.below[0])
    rows = rows.filter(period__gte=first, period__lte=last)
    return rows.order_by("-period", "-program_id", "-timestamp")[: PER_PAGE + 1]
