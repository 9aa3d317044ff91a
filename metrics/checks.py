"""System checks of how often is recorded, and for how long it is kept."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

MINUTE = 60


@register
def record_seconds(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A point must not reach over the end of a minute, where the next tier begins."""
    seconds = settings.RECORD_SECONDS
    if seconds >= 1 and seconds == int(seconds) and MINUTE % seconds == 0:
        return []
    hint = "Take 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 or 60."
    message = f"RECORD_SECONDS is {seconds:g}; it must be whole and divide a minute."
    return [Error(message, hint=hint, id="metrics.E001")]


@register
def kept(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A tier is built from the next finer one, which has to be there still."""
    too_short = [
        f"{name} is {getattr(settings, name)}; it must be at least {least}."
        for name, least in (("RAW_HOURS", 1), ("MINUTE_DAYS", 1), ("HOUR_DAYS", 2), ("EVENT_DAYS", 1))
        if getattr(settings, name) < least
    ]
    return [Error(message, id="metrics.E002") for message in too_short]
