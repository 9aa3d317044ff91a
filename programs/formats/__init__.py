"""Imports definitions from the files of other tools and exports our own. Does not use the database.

`read` reports every setting that a definition cannot hold as a note. docs/import-export.md lists all keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from . import native, pm2, procfile, supervisor, systemd
from .draft import MAX_CHARACTERS, Files, FormatError, Imported, LocalFiles, NoFiles, Note, Source

__all__ = ["KINDS", "FormatError", "Imported", "NoFiles", "Note", "guess", "read", "read_all", "write_yaml"]

Reader = Callable[[Sequence[Source]], Imported]

KINDS: dict[str, Reader] = {
    "yaml": native.read,
    "supervisor": supervisor.read,
    "pm2": pm2.read,
    "procfile": procfile.read,
    "systemd": systemd.read,
}

# Patterns in order: names that only one tool uses, then the content, then other names.
DETECTION: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("procfile", "name", re.compile(r"Procfile(\..+)?\Z|.+\.procfile\Z", re.IGNORECASE)),
    ("systemd", "name", re.compile(r".+\.service\Z")),
    ("supervisor", "content", re.compile(r"^\[(program:[^\]]+|group:[^\]]+|supervisord|include)\]", re.MULTILINE)),
    ("systemd", "content", re.compile(r"^\[Service\]", re.MULTILINE)),
    ("yaml", "content", re.compile(r"^(\{\s*)?['\"]?programs['\"]?\s*:", re.MULTILINE)),
    (
        "pm2",
        "content",
        re.compile(r"^(module\.exports|export default)\b|^[\s{(]*['\"]?apps['\"]?\s*:", re.MULTILINE),
    ),
    ("supervisor", "name", re.compile(r".+\.(ini|conf)\Z")),
    ("pm2", "name", re.compile(r".+\.(json5?|[cm]?js)\Z")),
    ("yaml", "name", re.compile(r".+\.ya?ml\Z")),
    ("procfile", "content", re.compile(r"\A(\s*#.*\n|\s*\n)*[A-Za-z0-9_-]+:[ \t]*\S")),
)


def read(text: str, *, kind: str | None = None, filename: str = "", files: Files | None = None) -> Imported:
    """Returns the definitions in `text` (JSON of the API without defaults), and notes about dropped settings.

    `kind` is one of KINDS; None detects it. Relative paths in the text start from the folder of `filename`, if it
    is absolute. `files` opens the files that the text refers to (`[include]`, EnvironmentFile, .env). Pass
    `NoFiles()` for uploads, because the default opens files of this machine. Raises FormatError.
    """
    return read_all([(filename, text)], kind=kind, files=files)


def read_all(texts: Iterable[tuple[str, str]], *, kind: str | None = None, files: Files | None = None) -> Imported:
    """Reads several `(filename, text)`, so that systemd units can depend on each other. Raises FormatError."""
    by_kind: dict[str, list[Source]] = {}
    for filename, text in texts:
        source = Source(text.removeprefix("\ufeff"), filename, files or LocalFiles())
        if len(text) > MAX_CHARACTERS:
            raise source.error("it is longer than a million characters")
        by_kind.setdefault(kind or guess(source.text, filename), []).append(source)
    result = Imported()
    for found, sources in by_kind.items():
        part = _reader(found)(sources)
        result.definitions += part.definitions
        result.notes += part.notes
        if found != "yaml" and any("{instance" in source.text for source in sources):
            result.note("{instance…} in the text: it is replaced with the number of the instance")
    _refuse_duplicates(result)
    return result


def guess(text: str, filename: str) -> str:
    inputs = {"name": PurePath(filename).name, "content": text}
    for kind, what, pattern in DETECTION:
        if pattern.search(inputs[what]):
            return kind
    raise FormatError(f"cannot detect its kind; specify one of {', '.join(KINDS)}", filename=filename)


def write_yaml(definitions: Iterable[Mapping[str, Any]]) -> str:
    """The definitions (JSON of the API) as YAML in a stable order, without defaults and secret values."""
    return native.write(definitions)


def _reader(kind: str) -> Reader:
    if kind not in KINDS:
        raise FormatError(f"unknown kind {kind!r}; use one of {', '.join(KINDS)}")
    return KINDS[kind]


def _refuse_duplicates(imported: Imported) -> None:
    names = [definition["name"] for definition in imported.definitions]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise FormatError(f"two programs have the same name: {', '.join(doubled)}")
