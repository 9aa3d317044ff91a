"""Paginated lists with the parameters `page`, `per_page`, `ordering`, `search` and `fields`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypedDict, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from ninja import Field, Schema

from .inputs import SearchText

M = TypeVar("M", bound=Model)
Item = TypeVar("Item", bound=Mapping[str, Any])
MAX_PER_PAGE = 200
MAX_PAGE = 1_000_000


class ListPage(TypedDict):
    items: list[dict[str, Any]]
    count: int
    page: int
    per_page: int


class ListQuery(Schema):
    """The query parameters of a list; subclasses add filters."""

    page: int = Field(1, ge=1, le=MAX_PAGE)
    per_page: int = Field(20, ge=1, le=MAX_PER_PAGE)
    ordering: str = Field(
        "", max_length=200, description="Fields to sort by, separated by commas; a minus sorts descending"
    )
    search: SearchText = Field("", description="Part of a name or text; case does not matter")
    fields: str = Field("", max_length=1000, description="Fields to return, separated by commas")

    @property
    def slice(self) -> slice:
        return slice((self.page - 1) * self.per_page, self.page * self.per_page)

    def order(self, allowed: Mapping[str, str], default: str) -> list[str]:
        """The columns for `order_by`. `allowed`: name in the API → column. Raises ValidationError."""
        names = _split(self.ordering) or [default]
        if unknown := [name for name in names if name.removeprefix("-") not in allowed]:
            raise ValidationError({"ordering": f"Cannot sort by {unknown[0]}; use {', '.join(allowed)}."})
        return ["-" * name.startswith("-") + allowed[name.removeprefix("-")] for name in names]

    def selected_fields(self, allowed: Collection[str]) -> list[str] | None:
        """None for all of them. Raises ValidationError."""
        names = _split(self.fields)
        if unknown := [name for name in names if name not in allowed]:
            raise ValidationError({"fields": f"Unknown field {unknown[0]}; use {', '.join(allowed)}."})
        return names or None

    def page_response(self, items: list[dict[str, Any]], count: int, fields: list[str] | None) -> ListPage:
        shown = items if fields is None else [{name: item[name] for name in fields} for item in items]
        return {"items": shown, "count": count, "page": self.page, "per_page": self.per_page}

    def rows(self, found: QuerySet[M]) -> tuple[list[M], int]:
        count = found.count()
        return (list(found[self.slice]) if count > self.slice.start else []), count


def _split(text: str) -> list[str]:
    return [word for part in text.split(",") if (word := part.strip())]


def sort_by(items: Sequence[Item], columns: Sequence[str]) -> list[Item]:
    """Items without a value come last, in either direction."""
    ordered = list(items)
    for column in reversed(columns):
        name = column.removeprefix("-")
        known = [item for item in ordered if item[name] is not None]
        known.sort(key=itemgetter(name), reverse=column.startswith("-"))
        ordered = known + [item for item in ordered if item[name] is None]
    return ordered
