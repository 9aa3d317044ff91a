"""`$NAME` and `$NAME_JSON` in people's own templates: a flat list of words, put in by one pass over the text.

No expressions and no template engine: a value that itself looks like a placeholder stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

Values = Mapping[str, Any]
Escape = Callable[[str], str]


class Context(NamedTuple):
    """How a placeholder is written at one kind of place: `text` for `$NAME`, `json` for `$NAME_JSON`."""

    text: Escape
    json: Escape


# `$$` is a dollar sign; a dollar before anything but a capital letter is one as well (`$5`, `$name`).
PLACEHOLDER = re.compile(r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Z][A-Z0-9_]*)|\{(?P<braced>[A-Z][A-Z0-9_]*)\})")
AS_JSON = "_JSON"


class TemplateError(ValueError):
    """A message that cannot be made from this template; the text says which part of it is wrong.

    `field` is the setting it stands in, or `url`; empty when it is about the whole.
    """

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


# Where each value stands in the delivered body; docs/webhook-formats.md explains them.
PATHS: dict[str, tuple[str, ...]] = {
    "NAME": ("data", "program", "name"),
    "PROGRAM_ID": ("data", "program", "id"),
    "DESCRIPTION": ("data", "program", "description"),
    "TAGS": ("data", "program", "tags"),
    "PROCESS": ("data", "process", "index"),
    "PID": ("data", "process", "pid"),
    "EXIT_CODE": ("data", "process", "exit_code"),
    "EXIT_SIGNAL": ("data", "process", "exit_signal"),
    "MEANING": ("data", "process", "meaning"),
    "UPTIME_SECONDS": ("data", "process", "uptime_seconds"),
    "RESTARTS": ("data", "process", "restarts_last_hour"),
    "LOG": ("data", "process", "log_lines"),
    "EVENT": ("type",),
    "EVENT_ID": ("id",),
    "SEQ": ("seq",),
    "TIMESTAMP": ("timestamp",),
    "SEVERITY": ("data", "event", "severity"),
    "ACTOR": ("data", "event", "actor"),
    "DATA": ("data", "event", "data"),
    "HOST": ("data", "host"),
    "SUMMARY": ("data", "summary"),
    "LINK": ("data", "link"),
    "BODY": (),
}
NAMES = tuple(PATHS)


def values_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Every placeholder's value, None for what this event does not have."""
    return {name: _found(body, path) for name, path in PATHS.items()}


def _found(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def text_of(value: Any) -> str:
    """A value inside a sentence: lists line by line, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def fill(template: str, values: Values, context: Context) -> str:
    """`template` with every placeholder replaced. Raises TemplateError for a name that is not known."""

    def put(found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        name = found["bare"] or found["braced"]
        if name in values:
            return context.text(text_of(values[name]))
        if name.endswith(AS_JSON) and (plain := name.removesuffix(AS_JSON)) in values:
            return context.json(json.dumps(values[plain], ensure_ascii=False))
        raise TemplateError(f"${name} is no placeholder; there are {', '.join('$' + known for known in NAMES)}.")

    return PLACEHOLDER.sub(put, template)


def json_text(text: str) -> str:
    """Escaped for the inside of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def header_text(text: str) -> str:
    """Escaped for a header: one line, in Latin-1, other characters as `&#1234;`."""
    line = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())
    return line.encode("latin-1", "xmlcharrefreplace").decode("latin-1")


def url_text(text: str) -> str:
    return quote(text, safe="")


PLAIN = Context(str, str)
IN_JSON = Context(json_text, str)
IN_URL = Context(url_text, url_text)
IN_HEADER = Context(header_text, header_text)
