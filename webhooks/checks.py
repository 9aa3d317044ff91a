"""System checks of the settings about webhooks."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from core.http import NETWORKS, Policy, RefusedError, check_url

LONGEST_PAUSE = 86_400


@register
def deadman(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A ping that can never arrive, or comes too seldom to tell anything, would be noticed when it is too late."""
    if not settings.DEADMAN_URL:
        return []
    found: list[CheckMessage] = []
    if not 1 <= settings.DEADMAN_SECONDS <= LONGEST_PAUSE:
        message = f"DEADMAN_SECONDS is {settings.DEADMAN_SECONDS:g}; it must be between 1 and {LONGEST_PAUSE}."
        found.append(Error(message, id="webhooks.E002"))
    if settings.WEBHOOK_NETWORK in NETWORKS and (said := _refusal(settings.DEADMAN_URL)):
        found.append(Error(f"DEADMAN_URL cannot be used: {said}", id="webhooks.E001"))
    return found


def _refusal(url: str) -> str:
    try:
        check_url(url, Policy.from_settings())
    except RefusedError as error:
        return str(error)
    return ""
