"""What apps on the floors above add to the pages of programs.

They register when the admin is loaded (in their own `admin` module), so nothing here has to know them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from django.contrib import admin
from django.forms.widgets import Script
from django.utils.safestring import SafeString

from programs.models import Program


class Column(Protocol):
    """One more column of the list. `after` names the column it follows."""

    name: str
    title: Any
    after: str
    script: str  # that goes on with it in the browser, below static/

    def load(self, programs: Sequence[Program]) -> Mapping[int, Any]:
        """What the cells of a page need, by program id, in one query however many rows there are."""

    def cell(self, program: Program, found: Any) -> SafeString | str:
        """`found` is what `load` gave for this program, or None."""


# Templates between the processes and the log on a program's page; they find it as `program`.
panels: list[str] = []
columns: list[Column] = []
# What stands below the figures on a program's page, one line each; asks the database once.
notices: list[Callable[[Program], Sequence[SafeString]]] = []


def scripts() -> list[Script]:
    """What the list loads for the added columns."""
    return [Script(column.script, type="module") for column in columns]


def with_columns(names: Sequence[str]) -> tuple[Any, ...]:
    """`names` for `list_display`, with the added columns in their places."""
    shown: list[Any] = []
    for name in names:
        shown += [name, *(_display(column) for column in columns if column.after == name)]
    return tuple(shown)


def load(programs: Sequence[Program]) -> None:
    """Puts beside each program, as `extra`, what the added columns show of it."""
    loaded = [(column.name, column.load(programs)) for column in columns]
    for program in programs:
        program.extra = {name: found.get(program.pk) for name, found in loaded}  # type: ignore[attr-defined]  # of the page alone


def _display(column: Column) -> Callable[[Any], SafeString | str]:
    @admin.display(description=column.title)
    def cell(program: Any) -> SafeString | str:
        return column.cell(program, program.extra[column.name])

    cell.__name__ = column.name  # the class of its cells
    return cell
