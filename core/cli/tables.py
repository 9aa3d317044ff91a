"""Tables for a terminal, aligned in every script."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.masking import printable

GAP = "  "
CUT = "…"


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def width(text: str) -> int:
    """Columns on a terminal: Korean and other wide characters take two, combining marks none."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, room: int) -> str:
    if width(text) <= room:
        return text
    kept = ""
    for character in text:
        if width(kept + character) > room - 1:
            break
        kept += character
    return kept + CUT


@dataclass(frozen=True)
class Cell:
    """`paint` colours the text after padding, since colour codes take no columns."""

    text: str
    paint: Callable[[str], str] = str


@dataclass(frozen=True)
class Column:
    title: str
    is_number: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], room: int | None = None) -> list[str]:
    """The lines of a table with a heading. Cuts the last column to fit into `room` columns."""
    head = [Cell(column.title) for column in columns]
    body = [[Cell(printable(cell.text), cell.paint) for cell in row] for row in rows]
    widths = [max(width(row[at].text) for row in [head, *body]) for at in range(len(columns))]
    if room:
        taken = sum(widths[:-1]) + len(GAP) * (len(columns) - 1)
        widths[-1] = min(widths[-1], max(room - taken, len("reason")))
    return [_line(columns, widths, row) for row in [head, *body]]


def _line(columns: Sequence[Column], widths: Sequence[int], row: Sequence[Cell]) -> str:
    shown = [_padded(*parts) for parts in zip(columns, widths, row, strict=True)]
    return GAP.join(shown).rstrip()


def _padded(column: Column, room: int, cell: Cell) -> str:
    text = cut(cell.text, room)
    space = " " * (room - width(text))
    return space + cell.paint(text) if column.is_number else cell.paint(text) + space
