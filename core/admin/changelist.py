"""Parts of list pages in the admin: badge columns and the paginator of large tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property
from unfold.decorators import display

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator  # not subscriptable at run time

ROLE_COLOURS = {"read": "info", "operate": "warning", "admin": "danger"}
MAX_COUNT = 10_000
F = TypeVar("F", bound=Callable[..., Any])


def badge(
    description: str | _StrPromise, *, colours: Mapping[str, str], ordering: str | None = None
) -> Callable[[F], F]:
    """For a method that returns a value or (value, label). `colours`: value → success, info, warning or danger."""
    decorate: Callable[..., Callable[[F], F]] = display
    return decorate(description=description, ordering=ordering, label=dict(colours))


class CappedPaginator(AnyPaginator):
    """Counts at most 10,000 rows, because an exact count scans the table on every page. Filters reach the rest."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return rows[:MAX_COUNT].count() if isinstance(rows, QuerySet) else len(rows)
