"""What a URL may look like. A friendly word when it is saved; what decides is the address dialled later."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from core.masking import MASK

from .addresses import literal
from .messages import RefusedError
from .policy import Policy

LONGEST = 4096
NO_HOST = frozenset("%*<>\"'`|^{}")  # some resolvers take `*` for this machine
PORTS = {"http": 80, "https": 443}


def check_url(url: str, policy: Policy) -> None:
    """Raises RefusedError, in words for the person who typed it. Asks no name server."""
    parts = _parts(url)
    host = parts.hostname or ""
    port = parts.port or PORTS[parts.scheme]
    address = literal(host)
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        policy.check("127.0.0.1", port)
    if address is None:
        return
    policy.check(str(address), port)
    if ":" not in host and host != str(address):
        raise RefusedError(f"Write the address as {address}, not as {host}.")


@lru_cache(maxsize=256)
def _parts(url: str) -> SplitResult:
    if len(url) > LONGEST:
        raise RefusedError(f"The URL is longer than {LONGEST} characters.")
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise RefusedError("The URL holds a space, a backslash or a control character.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RefusedError(f"This is no URL: {error}.") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise RefusedError("Write a whole URL that begins with http:// or https://.")
    if "@" in parts.netloc:
        raise RefusedError("Leave out the user and password; put them into a header.")
    if port == 0 or NO_HOST & set(parts.netloc):
        raise RefusedError("The host of the URL, or its port, cannot be dialled.")
    return parts


def masked_url(url: str) -> str:
    """`https://host:8443/••••••`: enough to recognise it by. Tokens may stand anywhere behind the host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    rest = f"/{MASK}" if parts.path.strip("/") or parts.query else parts.path
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{rest}"
