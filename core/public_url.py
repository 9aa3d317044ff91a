"""The address at which people reach the monitor, for links in messages."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.conf import settings

FORBIDDEN = re.compile(r"[\s<>\"'|\\^`{}\x00-\x1f\x7f]")  # would end a link in one of the formats
WILDCARDS = ("", "0.0.0.0", "[::]")  # noqa: S104  (compared with, not listened on)


def public_url() -> str:
    """Without a slash at the end. Guessed from the other settings unless PUBLIC_URL is set."""
    if settings.PUBLIC_URL:
        return str(settings.PUBLIC_URL)
    # Behind a proxy, only these have its address.
    if origins := [origin for origin in settings.CSRF_TRUSTED_ORIGINS if "*" not in origin]:
        return str(origins[0]).rstrip("/")
    host, _, port = settings.BIND.rpartition(":")
    return f"http://{settings.HOST_NAME if host in WILDCARDS else host}:{port}"


def is_public_url(text: str) -> bool:
    """Whether PUBLIC_URL can be `text`: http or https, a host, perhaps a path, and nothing else."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError for what is not a port
    except ValueError:
        return False
    is_plain = not (parts.query or parts.fragment or "@" in parts.netloc or FORBIDDEN.search(text))
    return parts.scheme in ("http", "https") and bool(parts.hostname) and is_plain
