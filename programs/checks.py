"""System checks of the sampling settings."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register
def intervals(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not 0.2 <= settings.SAMPLE_SECONDS <= 60:
        message = f"SAMPLE_SECONDS is {settings.SAMPLE_SECONDS:g}; it must be between 0.2 and 60."
        found.append(Error(message, id="programs.E001"))
    if settings.RECORD_SECONDS < settings.SAMPLE_SECONDS:
        message = f"RECORD_SECONDS is {settings.RECORD_SECONDS:g}; it must not be below SAMPLE_SECONDS."
        found.append(Error(message, id="programs.E002"))
    return found
