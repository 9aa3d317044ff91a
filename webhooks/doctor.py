"""Findings of `manage.py doctor`: endpoints that fail or were disabled, and the pings of the dead man's switch."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from core.doctor import Finding, ok, register, warn
from core.models import Heartbeat

from .deadman import HEARTBEAT_NAME
from .health import EndpointCondition, condition_of
from .models import WebhookEndpoint

MISSED_PINGS = 3


@register
def endpoints() -> Iterator[Finding]:
    known = list(WebhookEndpoint.objects.order_by("name"))
    problems = [problem for each in known if (problem := _problem(each))]
    if known and not problems:
        yield ok("webhooks.arrive", "Webhooks are delivered.")
    yield from problems


def _problem(endpoint: WebhookEndpoint) -> Finding | None:
    if endpoint.disabled_reason and not endpoint.enabled:
        summary = f"Webhook {endpoint.name} was disabled automatically: {endpoint.disabled_reason}."
        return warn("webhooks.enabled", summary, f"Fix it, then run: manage.py webhook enable {endpoint.pk}")
    if condition_of(endpoint, timezone.now()) in (EndpointCondition.FAILING, EndpointCondition.OPEN):
        error = (endpoint.last_error or "no response").rstrip(".")
        summary = f"Deliveries to webhook {endpoint.name} fail: {error}."
        return warn("webhooks.arrive", summary, f"See the log: manage.py webhook deliveries {endpoint.pk}")
    return None


@register
def deadman() -> Iterator[Finding]:
    if not settings.DEADMAN_URL:
        return
    at = Heartbeat.objects.filter(name=HEARTBEAT_NAME).values_list("at", flat=True).first()
    # A minute more: pings wait in the queue behind other jobs.
    tolerance = timedelta(seconds=MISSED_PINGS * max(1.0, settings.DEADMAN_SECONDS) + 60)
    if at is not None and timezone.now() - at < tolerance:
        yield ok("deadman.taken", f"The last dead man's switch ping succeeded at {at:%Y-%m-%d %H:%M:%S} UTC.")
    else:
        since = f"since {at:%Y-%m-%d %H:%M:%S} UTC" if at else "so far"
        summary = f"No dead man's switch ping succeeded {since}."
        yield warn("deadman.taken", summary, "Check DEADMAN_URL and the log of the jobs.")
