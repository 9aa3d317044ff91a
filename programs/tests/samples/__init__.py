"""Sample files of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from programs.formats import Imported, read_all

FOLDER = Path(__file__).resolve().parent


def read_samples(*names: str) -> Imported:
    return read_all([(str(FOLDER / name), (FOLDER / name).read_text()) for name in names])


def definition(imported: Imported, name: str) -> dict[str, Any]:
    return next(found for found in imported.definitions if found["name"] == name)


def notes(imported: Imported, program: str) -> list[str]:
    return [note.message for note in imported.notes if note.program == program]


def mentions(imported: Imported, program: str, words: str) -> bool:
    """Whether a note about the program contains the words."""
    return any(words in message for message in notes(imported, program))
