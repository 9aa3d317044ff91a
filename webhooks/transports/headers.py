"""Headers that people enter for an endpoint: one per line, `Name: value`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from core.http import RefusedError, check_headers
from webhooks.placeholders import TemplateError

from .base import Secret

MAX_LENGTH = 8000
RESERVED_PREFIX = "webhook-"


HeaderLines = Annotated[
    str,
    Field(
        max_length=MAX_LENGTH,
        title="Headers",
        description="One per line: X-Title: text",
        json_schema_extra={"format": "textarea"},
    ),
]
SecretHeaderLines = Annotated[
    Secret,
    Field(
        max_length=MAX_LENGTH,
        title="Secret headers",
        description="One per line, such as Authorization: Bearer …. Stored encrypted and not shown again.",
    ),
]


def entered_headers(lines: str, content_type: str, fill: Callable[[str], str] = str) -> dict[str, str]:
    """With `Content-Type`, unless empty; values pass through `fill`. Of equal names the last counts.

    Raises TemplateError.
    """
    found = {"content-type": ("Content-Type", content_type)} if content_type else {}
    for line in lines.splitlines():
        if line.strip():
            name, value = _parse(line)
            # Names are case-insensitive: two spellings would send the header twice.
            found[name.lower()] = name, fill(value)
    headers = dict(found.values())
    try:
        check_headers(headers)
    except RefusedError as error:
        raise TemplateError(str(error)) from None
    return headers


def _parse(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise TemplateError("A header line has no colon. Write Name: value.")
    if name.strip().lower().startswith(RESERVED_PREFIX):
        raise TemplateError(f"The header {name.strip()} is set by the monitor itself.")
    return name.strip(), value.strip()
