"""Admin columns that show a value as a coloured label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from unfold.decorators import display

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

ROLE_COLOURS = {"read": "info", "operate": "warning", "admin": "danger"}
F = TypeVar("F", bound=Callable[..., Any])


def badge(
    description: str | _StrPromise, *, colours: Mapping[str, str], ordering: str | None = None
) -> Callable[[F], F]:
    """For a method that returns a value or (value, label). `colours`: value → success, info, warning or danger."""
    decorate: Callable[..., Callable[[F], F]] = display
    return decorate(description=description, ordering=ordering, label=dict(colours))
