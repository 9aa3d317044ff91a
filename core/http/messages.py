"""Requests, responses and the two kinds of errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

FailureKind = Literal["dns", "refused", "timeout", "tls", "reset", "malformed", "failed"]

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Only the client sets these, because they decide where a message ends and who reads it.
CLIENT_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect"}
)


@dataclass(frozen=True)
class Tls:
    """Trusts the system's certificate authorities, or only those in `authorities` (PEM).

    With `verify` False, any certificate is accepted.
    """

    verify: bool = True
    authorities: str = field(default="", repr=False)


VERIFIED = Tls()


@dataclass(frozen=True)
class OutgoingRequest:
    """Its repr has only the method, since URLs and headers contain tokens."""

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
    """The policy forbids this request; nothing was sent. The text is shown to the user."""


class TransportError(Exception):
    """There was no usable response. `text` is a sentence without the URL.

    `connected` is False when there was no connection, so the server cannot have received anything.
    """

    def __init__(self, kind: FailureKind, text: str, *, connected: bool = True) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text
        self.connected = connected


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises RefusedError for invalid headers and for those that only the client sets."""
    for name, value in headers.items():
        _check_name(name)
        if CONTROL.search(value):
            raise RefusedError(f"The header {name} contains a line break or another control character.")


@lru_cache(maxsize=256)
def _check_name(name: str) -> None:
    if not HEADER_NAME.fullmatch(name):
        raise RefusedError(f"{name!r} is not a valid header name.")
    if name.lower() in CLIENT_HEADERS or name.lower().startswith("proxy-"):
        raise RefusedError(f"The header {name} is set by the monitor itself.")
