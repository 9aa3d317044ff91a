"""Delivery log, tests, redelivery, recovery and replay. Sending is for operators."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest
from django.utils import timezone
from ninja import Query, Router, Status

from core.rest import auth
from core.rest.auth import AuthedRequest
from core.rest.lists import ListPage
from programs.api.filters import type_filter
from programs.schemas import PageOut
from webhooks import delivery_wait, selectors, services
from webhooks.models import WebhookDelivery
from webhooks.schemas import (
    AllDeliveriesListing,
    CountOut,
    DeliveryListing,
    DeliveryOut,
    OutcomeOut,
    SinceIn,
    Wait,
)
from webhooks.serializers import delivery_json

from .endpoints import endpoint_or_404

router = Router()
FIELDS = tuple(DeliveryOut.model_fields)
ORDER = {"created_at": "created_at"}
OUTCOMES = {200: OutcomeOut, 202: OutcomeOut}


def delivery_or_404(delivery_id: str) -> WebhookDelivery:
    found = selectors.deliveries_with_attempts().filter(pk=delivery_id).first() if delivery_id.isascii() else None
    if found is None:
        raise Http404("Delivery not found.")
    return found


# --- Log ------------------------------------------------------------------------------------------------


@router.get("/webhooks/{int:webhook_id}/deliveries", auth=auth.READ, response=PageOut)
def deliveries_of_webhook(request: HttpRequest, webhook_id: int, listing: Query[DeliveryListing]) -> ListPage:
    """Newest first, each with all its attempts. `search` matches the program name."""
    return _page(selectors.deliveries().filter(endpoint=endpoint_or_404(webhook_id)), listing)


@router.get("/webhooks/deliveries", auth=auth.READ, response=PageOut)
def all_deliveries(request: HttpRequest, listing: Query[AllDeliveriesListing]) -> ListPage:
    """Deliveries to all endpoints, newest first."""
    found = selectors.deliveries()
    return _page(found.filter(endpoint=listing.webhook) if listing.webhook else found, listing)


def _page(found: QuerySet[WebhookDelivery], listing: DeliveryListing) -> ListPage:
    fields = listing.selected_fields(FIELDS)
    (column,) = listing.order(ORDER, "-created_at")[:1]
    # Saves the query for attempts that are not wanted.
    with_attempts = fields is None or "attempts" in fields
    found = _filtered(found, listing).order_by(column, "-id" if column.startswith("-") else "id")
    rows, count = listing.rows(found.prefetch_related("attempts") if with_attempts else found)
    return listing.page_response([delivery_json(row, attempts=with_attempts) for row in rows], count, fields)


def _filtered(found: QuerySet[WebhookDelivery], listing: DeliveryListing) -> QuerySet[WebhookDelivery]:
    found = found.filter(_state_filter(listing.state), type_filter(listing.type, "event__type"))
    if listing.program:
        found = found.filter(event__program=listing.program)
    if listing.search:
        found = found.filter(event__program_name__icontains=listing.search)
    if listing.since:
        found = found.filter(created_at__gte=listing.since)
    return found.filter(created_at__lt=listing.until) if listing.until else found


def _state_filter(text: str) -> Q:
    states = [state.strip() for state in text.split(",") if state.strip()]
    known = WebhookDelivery.State.values
    if unknown := [state for state in states if state not in known]:
        raise ValidationError({"state": f"Unknown state {unknown[0]}. Use one of {', '.join(known)}."})
    return Q(state__in=states) if states else Q()


@router.get("/webhooks/deliveries/{delivery_id}", auth=auth.READ, response=DeliveryOut)
def get_delivery(request: HttpRequest, delivery_id: str) -> dict[str, Any]:
    return delivery_json(delivery_or_404(delivery_id))


# --- Sending --------------------------------------------------------------------------------------------


@router.post("/webhooks/{int:webhook_id}/test", auth=auth.OPERATE, response=OUTCOMES)
async def test_webhook(request: AuthedRequest, webhook_id: int, query: Query[Wait]) -> Status[dict[str, Any]]:
    """Sends a `webhook.test` event in a single attempt.

    200 after the attempt, even if it failed; 202 if pending.
    """
    # Asynchronous, because waiting for the result must not block a thread.
    delivery = await sync_to_async(_test)(webhook_id, request)
    return await _outcome(delivery.pk, 0, query.wait)


def _test(webhook_id: int, request: AuthedRequest) -> WebhookDelivery:
    return services.send_test(endpoint_or_404(webhook_id), actor=request.auth)


@router.post("/webhooks/deliveries/{delivery_id}/redeliver", auth=auth.OPERATE, response=OUTCOMES)
async def redeliver(request: AuthedRequest, delivery_id: str, query: Query[Wait]) -> Status[dict[str, Any]]:
    """Sends it again with the same id. 200 after the attempt, even a failed one; 202 if still pending."""
    before = await sync_to_async(_redeliver)(delivery_id, request)
    return await _outcome(before.pk, before.attempt_count, query.wait)


def _redeliver(delivery_id: str, request: AuthedRequest) -> WebhookDelivery:
    return services.redeliver(delivery_or_404(delivery_id), actor=request.auth)


async def _outcome(pk: str, attempts: int, seconds: float) -> Status[dict[str, Any]]:
    delivery = await delivery_wait.wait_until_settled_async(pk, attempts, seconds)
    if delivery is None:
        raise Http404("The webhook was removed.")
    result = {
        "detail": await sync_to_async(delivery_wait.describe_result)(delivery, timezone.now()),
        "delivery": delivery_json(delivery),
    }
    return Status(200 if delivery_wait.is_settled(delivery, attempts) else 202, result)


@router.post("/webhooks/{int:webhook_id}/recover", auth=auth.OPERATE, response=CountOut)
def recover(request: AuthedRequest, webhook_id: int, body: SinceIn) -> dict[str, Any]:
    """Sends failed deliveries since then again, at the endpoint's rate limit. `dry_run` only counts them."""
    endpoint = endpoint_or_404(webhook_id)
    if body.dry_run:
        count = services.failed_since(endpoint, body.since).count()
    else:
        count = services.recover(endpoint, since=body.since, actor=request.auth)
    return {"count": count, "dry_run": body.dry_run}


@router.post("/webhooks/{int:webhook_id}/replay", auth=auth.OPERATE, response=CountOut)
def replay(request: AuthedRequest, webhook_id: int, body: SinceIn) -> dict[str, Any]:
    """Sends events since then that match the endpoint but were never sent: muted, or older than the endpoint.
    `dry_run` only counts them."""
    endpoint = endpoint_or_404(webhook_id)
    if body.dry_run:
        count = len(services.missing_since(endpoint, body.since))
    else:
        count = services.replay_missing(endpoint, since=body.since, actor=request.auth)
    return {"count": count, "dry_run": body.dry_run}
