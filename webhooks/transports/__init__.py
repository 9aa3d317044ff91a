"""The message formats. Each is a folder here; adding one touches no other file.

    transport = get("discord")
    request = transport.render(body, url, settings)
    response = await transport.send(client, request, deadline=15)

`body` is the payload of an event, see docs/webhook-formats.md; late messages have `late_seconds` in its `data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from webhooks.placeholders import TemplateError

if TYPE_CHECKING:
    from .base import Transport

__all__ = ["TemplateError", "UnknownKindError", "get", "kinds", "preview"]

EXAMPLE_URL = "https://example.invalid/"


class UnknownKindError(LookupError):
    pass


@cache
def kinds() -> tuple[str, ...]:
    # Does not import the formats: most processes need only one of them.
    return tuple(sorted(module.name for module in iter_modules(__path__) if module.ispkg))


def get(kind: str) -> Transport[Any]:
    """Raises UnknownKindError."""
    if kind not in kinds():
        raise UnknownKindError(f"{kind!r} is not a format. Use one of {', '.join(kinds())}.")
    transport: Transport[Any] = import_module(f"{__name__}.{kind}.transport").TRANSPORT
    return transport


def preview(
    kind: str, settings: Mapping[str, Any], body: Mapping[str, Any], url: str = EXAMPLE_URL
) -> dict[str, Any]:
    """`{"method", "url", "headers", "body"}` as text, with URL and secret settings masked.

    Raises UnknownKindError, TemplateError, SettingsError.
    """
    # Imported here: Apprise's child process loads this package without pydantic.
    from .base import masked_request

    transport = get(kind)
    return masked_request(transport, transport.render(body, url, settings), settings)
