"""Lists in pages: `page`, `per_page`, `ordering`, `search`, `fields`, each from what a list allows."""

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
LARGEST_PAGE = 200
LAST_PAGE = 1_000_000


class Page(TypedDict):
    items: list[dict[str, Any]]
    count: int
    page: int
    per_page: int


class Listing(Schema):
    """The query of every list; a list adds its filters in a subclass."""

    page: int = Field(1, ge=1, le=LAST_PAGE)
    per_page: int = Field(20, ge=1, le=LARGEST_PAGE)
    ordering: str = Field("", max_length=200, description="Fields to sort by, a minus before those descending")
    search: SearchText = Field("", description="Part of a name or text, any case")
    fields: str = Field("", max_length=1000, description="Which fields to answer with, separated by commas")

    @property
    def slice(self) -> slice:
        return slice((self.page - 1) * self.per_page, self.page * self.per_page)

    def order(self, allowed: Mapping[str, str], default: str) -> list[str]:
        """The columns to sort by, `-` before those descending. Raises ValidationError.

        `allowed`: the name people use → the column.
        """
        asked = _words(self.ordering) or [default]
        if unknown := [word for word in asked if word.removeprefix("-") not in allowed]:
            raise ValidationError({"ordering": f"Cannot sort by {unknown[0]}; known: {', '.join(allowed)}."})
        return ["-" * word.startswith("-") + allowed[word.removeprefix("-")] for word in asked]

    def chosen_fields(self, allowed: Collection[str]) -> list[str] | None:
        """None for all of them. Raises ValidationError."""
        asked = _words(self.fields)
        if unknown := [word for word in asked if word not in allowed]:
            raise ValidationError({"fields": f"There is no field {unknown[0]}; known: {', '.join(allowed)}."})
        return asked or None

    def answer(self, items: list[dict[str, Any]], count: int, fields: list[str] | None) -> Page:
        shown = items if fields is None else [{name: item[name] for name in fields} for item in items]
        return {"items": shown, "count": count, "page": self.page, "per_page": self.per_page}

    def rows(self, found: QuerySet[M]) -> tuple[list[M], int]:
        """The rows of this page, and how many there are in all."""
        count = found.count()
        return (list(found[self.slice]) if count > self.slice.start else []), count


def _words(text: str) -> list[str]:
    return [word for part in text.split(",") if (word := part.strip())]


def sort_by(items: Sequence[Item], columns: Sequence[str]) -> list[Item]:
    """`items` in the order of `columns`; what has no value comes last."""
    ordered = list(items)
    for column in reversed(columns):
        name = column.removeprefix("-")
        known = [item for item in ordered if item[name] is not None]
        known.sort(key=itemgetter(name), reverse=column.startswith("-"))
        ordered = known + [item for item in ordered if item[name] is None]
    return ordered
