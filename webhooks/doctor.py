"""The doctor's look at webhooks: endpoints that take nothing, and the monitor's own sign of life."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from core.doctor import Finding, ok, register, warn
from core.models import Heartbeat

from .deadman import HEARTBEAT
from .health import Condition, condition_of
from .models import WebhookEndpoint

MISSED_PINGS = 3


@register
def endpoints() -> Iterator[Finding]:
    known = list(WebhookEndpoint.objects.order_by("name"))
    troubles = [trouble for each in known if (trouble := _trouble(each))]
    if known and not troubles:
        yield ok("webhooks.arrive", "Webhooks arrive.")
    yield from troubles


def _trouble(endpoint: WebhookEndpoint) -> Finding | None:
    if endpoint.disabled_reason and not endpoint.enabled:
        told = f"Webhook {endpoint.name} was switched off: {endpoint.disabled_reason}."
        return warn("webhooks.enabled", told, f"When it is mended: manage.py webhook enable {endpoint.pk}")
    if condition_of(endpoint, timezone.now()) in (Condition.FAILING, Condition.OPEN):
        told = f"Webhook {endpoint.name} does not arrive: {(endpoint.last_error or 'nobody answers').rstrip('.')}."
        return warn("webhooks.arrive", told, f"Look: manage.py webhook deliveries {endpoint.pk}")
    return None


@register
def deadman() -> Iterator[Finding]:
    if not settings.DEADMAN_URL:
        return
    at = Heartbeat.objects.filter(name=HEARTBEAT).values_list("at", flat=True).first()
    patience = timedelta(seconds=MISSED_PINGS * max(1.0, settings.DEADMAN_SECONDS) + 60)
    if at is not None and timezone.now() - at < patience:
        yield ok("deadman.taken", f"The sign of life was taken at {at:%Y-%m-%d %H:%M:%S} UTC.")
    else:
        since = f"since {at:%Y-%m-%d %H:%M:%S} UTC" if at else "so far"
        told = f"No sign of life was taken {since}."
        yield warn("deadman.taken", told, "Look at DEADMAN_URL and at the log of jobs.")
