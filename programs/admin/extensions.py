"""Extension points: columns, panels and notices that other apps add to the pages of programs.

Apps register in their own `admin` module, so this app does not import them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from django.contrib import admin
from django.forms.widgets import Script
from django.utils.safestring import SafeString

from programs.models import Program


class Column(Protocol):
    """An additional column of the list, after the column `after`."""

    name: str
    title: Any
    after: str
    script: str  # below static/; updates the column in the browser

    def load(self, programs: Sequence[Program]) -> Mapping[int, Any]:
        """The data of the cells by program id, in one query."""

    def cell(self, program: Program, found: Any) -> SafeString | str:
        """`found` is the entry of `load` for this program, or None."""


# Templates between the processes and the log on the page of a program; they get it as `program`.
panels: list[str] = []
columns: list[Column] = []
# Lines below the metrics on the page of a program. Each function may make one query.
notices: list[Callable[[Program], Sequence[SafeString]]] = []


def scripts() -> list[Script]:
    return [Script(column.script, type="module") for column in columns]


def with_columns(names: Sequence[str]) -> tuple[Any, ...]:
    shown: list[Any] = []
    for name in names:
        shown += [name, *(_display(column) for column in columns if column.after == name)]
    return tuple(shown)


def load(programs: Sequence[Program]) -> None:
    """Sets `extra` on each program, the data of the added columns."""
    loaded = [(column.name, column.load(programs)) for column in columns]
    for program in programs:
        program.extra = {name: found.get(program.pk) for name, found in loaded}  # type: ignore[attr-defined]  # only in this list


def _display(column: Column) -> Callable[[Any], SafeString | str]:
    @admin.display(description=column.title)
    def cell(program: Any) -> SafeString | str:
        return column.cell(program, program.extra[column.name])

    cell.__name__ = column.name  # Django uses it as the CSS class of the cells
    return cell
