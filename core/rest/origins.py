"""Whether a websocket was opened by a page of ours. Browsers do not ask before they open one for any page."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

DEFAULT_PORTS = {"http": 80, "https": 443}


def is_own_origin(headers: Mapping[str, str]) -> bool:
    """Scheme, host and port of `Origin` must be those the request itself came to, or be trusted by settings.

    `headers` by lower-case name. False without an `Origin`.
    """
    origin, host = headers.get("origin", ""), headers.get("host", "")
    if not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        return False
    given = _parts(origin)
    is_same = given is not None and given == _parts(f"{_scheme(headers)}://{host}")
    return is_same or origin in settings.CSRF_TRUSTED_ORIGINS


def _scheme(headers: Mapping[str, str]) -> str:
    if settings.SECURE_PROXY_SSL_HEADER is None:
        return "http"
    name, secure = settings.SECURE_PROXY_SSL_HEADER
    given = headers.get(name.removeprefix("HTTP_").replace("_", "-").lower(), "")
    return "https" if given.split(",")[0].strip() == secure else "http"


def _parts(address: str) -> tuple[str, str | None, int | None] | None:
    """(scheme, host, port); None for what is no such address."""
    try:
        parts = urlsplit(address)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
