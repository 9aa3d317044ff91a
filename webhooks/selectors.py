"""Reads for the API, the admin and the commands. The number of queries does not grow with the number of rows."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q, QuerySet

from programs.models import ProgramEvent

from .models import WebhookDelivery, WebhookEndpoint, WebhookMute

MAX_NAMED = 5


def auto_disabled_endpoints() -> list[WebhookEndpoint]:
    # Endpoints disabled by a person have no reason. One more than named: the banner says “and others”.
    found = WebhookEndpoint.objects.filter(enabled=False).exclude(disabled_reason="")
    return list(found.only("name", "disabled_reason")[: MAX_NAMED + 1])


def endpoints(*, search: str = "", kind: str = "", enabled: bool | None = None) -> QuerySet[WebhookEndpoint]:
    found = WebhookEndpoint.objects.order_by("name")
    if search:
        found = found.filter(name__icontains=search)
    if kind:
        found = found.filter(format=kind)
    return found if enabled is None else found.filter(enabled=enabled)


def deliveries() -> QuerySet[WebhookDelivery]:
    """Newest first, with event and endpoint in the same query."""
    return WebhookDelivery.objects.select_related("event", "endpoint").order_by("-created_at", "-id")


def deliveries_with_attempts() -> QuerySet[WebhookDelivery]:
    """Like `deliveries`, with the attempts, oldest first, in one more query."""
    return deliveries().prefetch_related("attempts")


def mutes() -> QuerySet[WebhookMute]:
    return WebhookMute.objects.select_related("endpoint", "program").order_by("-starts_at", "-id")


def current_mutes(now: datetime) -> QuerySet[WebhookMute]:
    """Mutes that have not ended, including those that have not started."""
    return mutes().filter(Q(ends_at=None) | Q(ends_at__gt=now))


def last_event() -> ProgramEvent | None:
    newest = ProgramEvent.objects.exclude(program_name="").select_related("program__host")
    return newest.order_by("-timestamp", "-seq").first()
