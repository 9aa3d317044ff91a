"""What the API, the admin and commands read: each in a number of queries that does not grow with the rows."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q, QuerySet

from programs.models import ProgramEvent

from .models import WebhookDelivery, WebhookEndpoint, WebhookMute


def endpoints(*, search: str = "", kind: str = "", enabled: bool | None = None) -> QuerySet[WebhookEndpoint]:
    """By name; those with `search` in it, of the format `kind`, switched on or off."""
    found = WebhookEndpoint.objects.order_by("name")
    if search:
        found = found.filter(name__icontains=search)
    if kind:
        found = found.filter(format=kind)
    return found if enabled is None else found.filter(enabled=enabled)


def deliveries() -> QuerySet[WebhookDelivery]:
    """Newest first, with event and endpoint: one query."""
    return WebhookDelivery.objects.select_related("event", "endpoint").order_by("-created_at", "-id")


def deliveries_with_attempts() -> QuerySet[WebhookDelivery]:
    """Newest first, with event, endpoint and every try, oldest first: two queries."""
    return deliveries().prefetch_related("attempts")


def mutes() -> QuerySet[WebhookMute]:
    return WebhookMute.objects.select_related("endpoint", "program").order_by("-starts_at", "-id")


def current_mutes(now: datetime) -> QuerySet[WebhookMute]:
    """Those whose time is not over, also those that have not begun."""
    return mutes().filter(Q(ends_at=None) | Q(ends_at__gt=now))


def last_event() -> ProgramEvent | None:
    """The newest event of a program, which previews tell of."""
    newest = ProgramEvent.objects.exclude(program_name="").select_related("program__host")
    return newest.order_by("-timestamp", "-seq").first()
