"""System checks of the ground floor's settings."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from .observability import LEVELS


@register
def log_level(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.LOG_LEVEL in LEVELS:
        return []
    return [Error(f"LOG_LEVEL is {settings.LOG_LEVEL!r}; it can be {', '.join(LEVELS)}.", id="core.E001")]
