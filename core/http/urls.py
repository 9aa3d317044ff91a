"""Checks URLs early, when they are saved. What finally counts is the check of the connected address."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from core.masking import MASK

from .addresses import parse_ip_literal
from .messages import RefusedError
from .policy import Policy

MAX_URL_LENGTH = 4096
FORBIDDEN_HOST_CHARACTERS = frozenset("%*<>\"'`|^{}")  # some resolvers take `*` for this machine
PORTS = {"http": 80, "https": 443}


def check_url(url: str, policy: Policy) -> None:
    """Raises RefusedError with a message for the user. Does not resolve names."""
    parts = _parts(url)
    host = parts.hostname or ""
    port = parts.port or PORTS[parts.scheme]
    address = parse_ip_literal(host)
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        policy.check("127.0.0.1", port)
    if address is None:
        return
    policy.check(str(address), port)
    if ":" not in host and host != str(address):
        raise RefusedError(f"Write the address as {address}, not as {host}.")


@lru_cache(maxsize=256)
def _parts(url: str) -> SplitResult:
    if len(url) > MAX_URL_LENGTH:
        raise RefusedError(f"The URL is longer than {MAX_URL_LENGTH} characters.")
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise RefusedError("The URL contains a space, a backslash or a control character.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RefusedError(f"This is not a valid URL: {error}.") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise RefusedError("Enter a URL that starts with http:// or https://.")
    if "@" in parts.netloc:
        raise RefusedError("Remove the user and password from the URL and send them in a header.")
    if port == 0 or FORBIDDEN_HOST_CHARACTERS & set(parts.netloc):
        raise RefusedError("The host or the port of the URL is not valid.")
    return parts


def masked_url(url: str) -> str:
    """`https://host:8443/••••••`, since any part after the host may contain a token."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    rest = f"/{MASK}" if parts.path.strip("/") or parts.query else parts.path
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{rest}"
