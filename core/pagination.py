"""Pagination of large tables in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

MAX_COUNT = 10_000

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator  # not subscriptable at run time


class CappedPaginator(AnyPaginator):
    """Counts at most 10,000 rows, because an exact count scans the table on every page. Filters reach the rest."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return rows[:MAX_COUNT].count() if isinstance(rows, QuerySet) else len(rows)
