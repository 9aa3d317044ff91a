"""System checks of the settings for logging and Sentry."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from .observability import LEVELS


@register
def log_level(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.LOG_LEVEL in LEVELS:
        return []
    return [Error(f"LOG_LEVEL is {settings.LOG_LEVEL!r}; use one of {', '.join(LEVELS)}.", id="core.E001")]


@register
def sentry_dsn(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    # The message does not quote the DSN, since it contains a key.
    if not settings.SENTRY_DSN or _is_dsn(settings.SENTRY_DSN):
        return []
    hint = "A DSN looks like https://KEY@HOST/PROJECT; find it in the settings of the Sentry project."
    return [Error("SENTRY_DSN is not a valid DSN.", hint=hint, id="core.E002")]


def _is_dsn(text: str) -> bool:
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    project = parts.path.rpartition("/")[2]
    return parts.scheme in ("http", "https") and bool(parts.username) and has_host and project.isdigit()
