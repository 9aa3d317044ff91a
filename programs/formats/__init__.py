"""Definitions from other tools' files, and our own to a file. Nothing here touches the database.

`read` never drops anything in silence: what a definition cannot hold comes back as a note.
docs/import-export.md says key by key what becomes of what.
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

# What tells the kind, asked in this order: a name only one tool uses, then the content, then other names.
MARKS: tuple[tuple[str, str, re.Pattern[str]], ...] = (
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
    """The definitions in `text`, as the JSON of the API without defaults, and notes on what they do not hold.

    `kind` is one of KINDS, guessed when None. `filename` should be absolute where the file is on this machine:
    relative paths in it start from its folder. `files` opens what the text points to (`[include]`,
    EnvironmentFile, .env): this machine's files by default, none with `NoFiles()`, which an upload needs.
    Raises FormatError.
    """
    return read_all([(filename, text)], kind=kind, files=files)


def read_all(texts: Iterable[tuple[str, str]], *, kind: str | None = None, files: Files | None = None) -> Imported:
    """Several `(filename, text)` at once, so that systemd's units can depend on each other. Raises FormatError."""
    by_kind: dict[str, list[Source]] = {}
    for filename, text in texts:
        source = Source(text.removeprefix("\ufeff"), filename, files or LocalFiles())
        if len(text) > MAX_CHARACTERS:
            raise source.error("it is longer than a million characters")
        by_kind.setdefault(kind or guess(source.text, filename), []).append(source)
    whole = Imported()
    for found, sources in by_kind.items():
        part = _reader(found)(sources)
        whole.definitions += part.definitions
        whole.notes += part.notes
        if found != "yaml" and any("{instance" in source.text for source in sources):
            whole.note("{instance…} in the text: here it stands for the number of the instance")
    _refuse_doubles(whole)
    return whole


def guess(text: str, filename: str) -> str:
    """The kind of a text. Raises FormatError."""
    looked_at = {"name": PurePath(filename).name, "content": text}
    for kind, what, pattern in MARKS:
        if pattern.search(looked_at[what]):
            return kind
    raise FormatError(f"its kind cannot be told; say which of {', '.join(KINDS)}", filename=filename)


def write_yaml(definitions: Iterable[Mapping[str, Any]]) -> str:
    """The definitions (JSON of the API) as our YAML: stable order, defaults left out, secret values never."""
    return native.write(definitions)


def _reader(kind: str) -> Reader:
    if kind not in KINDS:
        raise FormatError(f"there is no kind {kind!r}; there are {', '.join(KINDS)}")
    return KINDS[kind]


def _refuse_doubles(imported: Imported) -> None:
    names = [definition["name"] for definition in imported.definitions]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise FormatError(f"two programs have the same name: {', '.join(doubled)}")
