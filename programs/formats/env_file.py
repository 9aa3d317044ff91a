"""Environment files with `NAME=value` lines: EnvironmentFile of systemd, and `.env` beside a Procfile."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .draft import Draft, Files, FormatError

ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
BLANK_LINE = re.compile(r"[ \t]*(?:[#;][^\n]*)?\r?(?:\n|\Z)")
SINGLE_QUOTED = re.compile(r"'([^']*)'[^\n]*")
DOUBLE_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"[^\n]*', re.DOTALL)
PLAIN = re.compile(r"(?:[^\n\\]|\\.)*\\?", re.DOTALL)
ESCAPED_IN_DOUBLE_QUOTES = re.compile(r"\\([\"\\`$])")


def variables(text: str) -> Iterator[tuple[str, str]]:
    """Quoted values may span lines. Raises FormatError, whose message contains no value."""
    at = 0
    while at < len(text):
        if blank := BLANK_LINE.match(text, at):
            at = blank.end()
            continue
        head = ASSIGNMENT.match(text, at)
        if head is None:
            raise FormatError("expected NAME=value", line=text.count("\n", 0, at) + 1)
        value, at = _value(text, head.end())
        yield head[1], value
        at += 1


def _value(text: str, at: int) -> tuple[str, int]:
    quoted = {"'": SINGLE_QUOTED, '"': DOUBLE_QUOTED}.get(text[at : at + 1])
    found = (quoted or PLAIN).match(text, at)
    if found is None:
        raise FormatError("the quote is not closed", line=text.count("\n", 0, at) + 1)
    if quoted is SINGLE_QUOTED:
        return found[1], found.end()
    if quoted is DOUBLE_QUOTED:
        return ESCAPED_IN_DOUBLE_QUOTES.sub(r"\1", found[1].replace("\\\n", "")), found.end()
    return re.sub(r"\\(.)", r"\1", found[0].replace("\\\n", "").strip()), found.end()


def add_file(draft: Draft, files: Files, path: str, *, key: str) -> bool:
    """Adds the variables of the file to the draft. If that fails, adds a note and returns False."""
    try:
        for name, value in variables(files.read(path)):
            draft.variable(name, value)
    except (OSError, FormatError) as error:
        draft.dropped(f"{key}={path}", str(error))
        return False
    return True
