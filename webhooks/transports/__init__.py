"""The kinds of message an endpoint can get. Each is a folder here; adding one touches no other file.

    transport = get("discord")
    request = transport.render(body, url, settings)
    response = await transport.send(client, request, deadline=15)

`body` is the delivered body of docs/webhook-formats.md. What its `data` may hold besides: `incident`
(`log_lines`), `restarts_last_hour`, `link`, `late_seconds`; formats say what is there and are silent on the rest.
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

NOWHERE = "https://example.invalid/"


class UnknownKindError(LookupError):
    """There is no folder of that name."""


@cache
def kinds() -> tuple[str, ...]:
    """The names of all kinds, in alphabetical order. Loads none of them."""
    return tuple(sorted(module.name for module in iter_modules(__path__) if module.ispkg))


def get(kind: str) -> Transport[Any]:
    """Raises UnknownKindError."""
    if kind not in kinds():
        raise UnknownKindError(f"{kind!r} is no format; there are {', '.join(kinds())}.")
    transport: Transport[Any] = import_module(f"{__name__}.{kind}.transport").TRANSPORT
    return transport


def preview(kind: str, settings: Mapping[str, Any], body: Mapping[str, Any], url: str = NOWHERE) -> dict[str, Any]:
    """What would be sent: `{"method", "url" (masked), "headers", "body" (text)}`; values of secret settings
    are blanked. Raises UnknownKindError, TemplateError, SettingsError.
    """
    from .preview import shown

    transport = get(kind)
    return shown(transport, transport.render(body, url, settings), settings)
