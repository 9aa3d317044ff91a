"""Retention: deletes deliveries older than a month, and all but the newest 10,000 of an endpoint."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from webhooks.models import WebhookDelivery, WebhookEndpoint

MAX_AGE = timedelta(days=30)
MAX_PER_ENDPOINT = 10_000
BATCH = 500  # keeps each transaction short


def prune(now: datetime) -> int:
    """Returns how many deliveries were deleted. Pending ones stay, however old."""
    done = WebhookDelivery.objects.exclude(state=WebhookDelivery.State.PENDING)
    deleted = _delete(done.filter(created_at__lt=now - MAX_AGE))
    for endpoint in WebhookEndpoint.objects.values_list("pk", flat=True):
        own = WebhookDelivery.objects.filter(endpoint=endpoint).order_by("-created_at", "-pk")
        # A limit by creation time instead of a list of ids: that can use the index.
        last_kept = own.values_list("created_at", "pk")[MAX_PER_ENDPOINT - 1 : MAX_PER_ENDPOINT].first()
        if last_kept:
            created_at, pk = last_kept
            older = Q(created_at__lt=created_at) | Q(created_at=created_at, pk__lt=pk)
            deleted += _delete(done.filter(older, endpoint=endpoint))
    return deleted


def complete_since(endpoint: WebhookEndpoint, now: datetime) -> datetime:
    """From when on no delivery was deleted. An earlier event may have been delivered and its delivery deleted."""
    own = WebhookDelivery.objects.filter(endpoint=endpoint)
    if own.count() < MAX_PER_ENDPOINT:
        return now - MAX_AGE
    oldest = own.order_by("created_at").values_list("created_at", flat=True).first()
    return max(oldest or now, now - MAX_AGE)


def _delete(rows: QuerySet[WebhookDelivery]) -> int:
    deleted = 0
    while batch := list(rows.order_by().values_list("pk", flat=True)[:BATCH]):
        deleted += WebhookDelivery.objects.filter(pk__in=batch).delete()[1]["webhooks.WebhookDelivery"]
    return deleted
