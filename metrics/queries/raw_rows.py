"""Keyset pagination over the rows of one tier, newest first.

The next page begins below the primary key of the last row, so every page costs the same and nothing is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from metrics.models import ProgramUsage
from metrics.storage.tiers import Tier

PAGE_SIZE = 100
RowKey = tuple[int, int, int]  # period, program id, timestamp


@dataclass(frozen=True)
class RowQuery:
    """Rows of `tier` with start <= timestamp < end, of one program or all."""

    tier: Tier
    start: int
    end: int
    program: int | None = None
    below: RowKey | None = None


@dataclass(frozen=True)
class RowPage:
    rows: list[ProgramUsage]
    below: RowKey | None  # key where the next page begins; None on the last page


def read_page(query: RowQuery) -> RowPage:
    """One query. Rows of all programs are ordered by period, then program."""
    rows = list(_rows_of_program(query) if query.program is not None else _rows_of_all(query))
    shown = rows[:PAGE_SIZE]
    return RowPage(shown, key_of(shown[-1]) if len(rows) > PAGE_SIZE else None)


def key_of(row: Any) -> RowKey:
    return (row.period, row.program_id, row.timestamp)


def _rows_of_program(query: RowQuery) -> QuerySet[Any]:
    # Lists the periods, because between two rows of a program are the rows of all others.
    end = query.end if query.below is None else min(query.end, query.below[2])
    periods = query.tier.periods(query.start, end)
    rows = query.tier.model._default_manager.filter(period__in=periods, program=query.program)
    rows = rows.filter(timestamp__gte=query.start, timestamp__lt=end)
    return rows.order_by("-period", "-timestamp")[: PAGE_SIZE + 1]


def _rows_of_all(query: RowQuery) -> QuerySet[Any]:
    first, last = query.tier.period_of(query.start), query.tier.period_of(query.end - 1)
    rows = query.tier.model._default_manager.filter(timestamp__gte=query.start, timestamp__lt=query.end)
    if query.below is not None:
        rows = rows.filter(pk__lt=query.below)
        # Follows from the key condition, but SQLite seeks only by a simple comparison.
        last = min(last, query.below[0])
    rows = rows.filter(period__gte=first, period__lte=last)
    return rows.order_by("-period", "-program_id", "-timestamp")[: PAGE_SIZE + 1]
