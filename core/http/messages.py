"""What goes out, what comes back, and the two ways in which it does not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

FailureKind = Literal["dns", "refused", "timeout", "tls", "reset", "malformed", "failed"]

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# They decide where a message ends or who reads it: the client alone sets them.
FRAMING = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect"}
)


@dataclass(frozen=True)
class Tls:
    """Whose certificates are believed: the system's authorities, or those in `authorities` (PEM) instead.

    Without `verify` everybody is, whoever they are.
    """

    verify: bool = True
    authorities: str = field(default="", repr=False)


VERIFIED = Tls()


@dataclass(frozen=True)
class OutgoingRequest:
    """`repr` shows the method alone: a chat's token stands in the URL, others in headers."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    tls: Tls = field(default=VERIFIED, repr=False)


@dataclass(frozen=True)
class OutgoingResponse:
    """`headers` have names in lower case; `body_head` is at most 4 KiB; `peer` is the address that answered."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body_head: bytes = b""
    duration_ms: int = 0
    peer: str = ""


class RefusedError(Exception):
    """Our own rules forbid this request; nothing was sent. The text says which rule, for people to read."""


class TransportError(Exception):
    """No usable answer came. `kind` is one of `FailureKind` and `text` says it in a sentence without the URL.

    `connected` is False when not even a connection was made, so nothing can have been received.
    """

    def __init__(self, kind: FailureKind, text: str, *, connected: bool = True) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text
        self.connected = connected


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises RefusedError for what cannot be a header, or would change where the message goes or ends."""
    for name, value in headers.items():
        _check_name(name)
        if CONTROL.search(value):
            raise RefusedError(f"The header {name} holds a line break or another control character.")


@lru_cache(maxsize=256)
def _check_name(name: str) -> None:
    if not TOKEN.fullmatch(name):
        raise RefusedError(f"{name!r} is no name of a header.")
    if name.lower() in FRAMING or name.lower().startswith("proxy-"):
        raise RefusedError(f"The header {name} is set by the monitor itself.")
