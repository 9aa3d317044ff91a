"""The app, and the system checks of its settings (recording interval, retention)."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register


class MetricsConfig(AppConfig):
    name = "metrics"

    def ready(self) -> None:
        from core import replica
        from programs.incidents import metrics_before

        from .models import HostUsage
        from .queries.recent_usage import usage_before
        from .storage import retention  # noqa: F401  (registers what expires after EVENT_DAYS)
        from .storage.tiers import TIERS

        replica.register(HostUsage, *(tier.model for tier in TIERS))
        metrics_before.append(usage_before)


@register
def check_record_seconds(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    # A point must not cross the end of a minute, where the next tier begins.
    seconds = settings.RECORD_SECONDS
    if seconds >= 1 and seconds == int(seconds) and 60 % seconds == 0:
        return []
    hint = "Use 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 or 60."
    message = f"RECORD_SECONDS is {seconds:g}; it must be a whole number that divides 60."
    return [Error(message, hint=hint, id="metrics.E001")]


@register
def check_retention(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    # A tier is rolled up from the next finer one, whose rows must not be deleted before.
    too_short = [
        f"{name} is {getattr(settings, name)}; it must be at least {least}."
        for name, least in (("RAW_HOURS", 1), ("MINUTE_DAYS", 1), ("HOUR_DAYS", 2), ("EVENT_DAYS", 1))
        if getattr(settings, name) < least
    ]
    return [Error(message, id="metrics.E002") for message in too_short]
