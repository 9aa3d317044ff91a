"""Placeholders of custom templates: `$NAME` and `$NAME_JSON`, replaced in one pass over the text.

No expressions and no template engine: a value that looks like a placeholder is not replaced again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from email.header import Header
from typing import Any, NamedTuple
from urllib.parse import quote

Values = Mapping[str, Any]
Escape = Callable[[str], str]


class EscapeContext(NamedTuple):
    """How to escape values in one context: `text` for `$NAME`, `json` for `$NAME_JSON`."""

    text: Escape
    json: Escape


# `$$` is a dollar sign, and so is a dollar before anything but a capital letter (`$5`, `$name`).
PLACEHOLDER = re.compile(r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Z][A-Z0-9_]*)|\{(?P<braced>[A-Z][A-Z0-9_]*)\})")
JSON_SUFFIX = "_JSON"


class TemplateError(ValueError):
    """`field`: the setting with the mistake, or `url`; empty if it is about the whole."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


# Path of each value in the payload; see docs/webhook-formats.md.
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
    return {name: _look_up(body, path) for name, path in PATHS.items()}


def _look_up(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def text_of(value: Any) -> str:
    """Lists of texts line by line, empty for None, JSON for other values."""
    if value is None:
        return ""
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def fill(template: str, values: Values, context: EscapeContext) -> str:
    """Replaces every placeholder. Raises TemplateError for an unknown name."""

    def replacement(found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        name = found["bare"] or found["braced"]
        if name in values:
            return context.text(text_of(values[name]))
        if name.endswith(JSON_SUFFIX) and (plain := name.removesuffix(JSON_SUFFIX)) in values:
            return context.json(json.dumps(values[plain], ensure_ascii=False))
        raise TemplateError(
            f"${name} is not a placeholder. Use one of {', '.join('$' + known for known in NAMES)}."
        )

    # A single pass: placeholders in values are not replaced.
    return PLACEHOLDER.sub(replacement, template)


def json_text(text: str) -> str:
    """Escaped for use inside a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def header_text(text: str) -> str:
    """One line; `encoded_header` makes the whole header ASCII."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())


def header_json(text: str) -> str:
    """JSON has escapes of its own for what is not ASCII."""
    return json.dumps(json.loads(text))


def encoded_header(value: str) -> str:
    """As encoded words of RFC 2047 unless it is ASCII: a header has no other way to carry Unicode."""
    if value.isascii():
        return value
    # Header folds long values; HTTP does not allow that.
    return (
        Header(value.encode(errors="replace").decode(), "utf-8")
        .encode(linesep="\n", maxlinelen=75)
        .replace("\n", "")
    )


def url_text(text: str) -> str:
    return quote(text, safe="")


PLAIN = EscapeContext(str, str)
IN_JSON = EscapeContext(json_text, str)
IN_URL = EscapeContext(url_text, url_text)
IN_HEADER = EscapeContext(header_text, header_json)
