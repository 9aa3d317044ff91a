"""Pages of long tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

COUNTED_AT_MOST = 10_000

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator  # not subscriptable at run time


class CappedPaginator(AnyPaginator):
    """Counts no further than 10,000 rows: an exact count reads the whole table for every page of it.

    Filters lead to what lies beyond.
    """

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return rows[:COUNTED_AT_MOST].count() if isinstance(rows, QuerySet) else len(rows)
