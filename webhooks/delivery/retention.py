"""Forgets deliveries and their attempts: those older than a month, and all but an endpoint's newest 10,000."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from webhooks.models import WebhookDelivery, WebhookEndpoint

KEEP = timedelta(days=30)
KEEP_OF_ENDPOINT = 10_000
BATCH = 500  # keeps each transaction short


def prune(now: datetime) -> int:
    """How many deliveries went. What is still pending stays, however old."""
    done = WebhookDelivery.objects.exclude(state=WebhookDelivery.State.PENDING)
    gone = _delete(done.filter(created_at__lt=now - KEEP))
    for endpoint in WebhookEndpoint.objects.values_list("pk", flat=True):
        own = WebhookDelivery.objects.filter(endpoint=endpoint).order_by("-created_at", "-pk")
        last_kept = own.values_list("created_at", "pk")[KEEP_OF_ENDPOINT - 1 : KEEP_OF_ENDPOINT].first()
        if last_kept:
            created_at, pk = last_kept
            older = Q(created_at__lt=created_at) | Q(created_at=created_at, pk__lt=pk)
            gone += _delete(done.filter(older, endpoint=endpoint))
    return gone


def reaches_back_to(endpoint: WebhookEndpoint, now: datetime) -> datetime:
    """Since when every delivery is still known. What lies before may have been delivered and forgotten."""
    own = WebhookDelivery.objects.filter(endpoint=endpoint)
    if own.count() < KEEP_OF_ENDPOINT:
        return now - KEEP
    oldest = own.order_by("created_at").values_list("created_at", flat=True).first()
    return max(oldest or now, now - KEEP)


def _delete(rows: QuerySet[WebhookDelivery]) -> int:
    gone = 0
    while batch := list(rows.order_by().values_list("pk", flat=True)[:BATCH]):
        gone += WebhookDelivery.objects.filter(pk__in=batch).delete()[1]["webhooks.WebhookDelivery"]
    return gone
