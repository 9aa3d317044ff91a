"""`/webhooks`: endpoints and their health. Only administrators may define one: it can send events anywhere."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Query, Router, Status

from core.rest import auth
from core.rest.auth import AuthedRequest
from core.rest.lists import ListPage
from core.timeformat import iso
from programs.schemas import PageOut
from webhooks import selectors, services
from webhooks.health import health_of, health_of_many
from webhooks.models import WebhookEndpoint
from webhooks.schemas import (
    HealthOut,
    SavedOut,
    SecretOut,
    WebhookChangesIn,
    WebhookIn,
    WebhookListing,
    WebhookOut,
)
from webhooks.serializers import endpoint_json, health_json

router = Router()
FIELDS = tuple(WebhookOut.model_fields)
HEALTH_FIELDS = ("id", "name", *HealthOut.model_fields)
SORTABLE = ("id", "name", "format", "enabled", "created_at", "last_success_at")
MAX_ID = 2**63 - 1
NOT_FIELDS = {"secret", "resume"}  # in the request body, but not fields of the endpoint


def endpoint_or_404(webhook_id: int) -> WebhookEndpoint:
    # SQLite raises an error for larger numbers.
    found = WebhookEndpoint.objects.filter(pk=webhook_id).first() if 0 < webhook_id <= MAX_ID else None
    if found is None:
        raise Http404(f"Webhook {webhook_id} not found.")
    return found


@router.get("/webhooks", auth=auth.READ, response=PageOut)
def list_webhooks(request: HttpRequest, listing: Query[WebhookListing]) -> ListPage:
    """All endpoints. `search` matches the name."""
    columns = listing.order({name: name for name in SORTABLE}, "name")
    fields = listing.selected_fields(FIELDS)
    found = selectors.endpoints(search=listing.search, kind=listing.format, enabled=listing.enabled)
    rows, count = listing.rows(found.order_by(*columns, "id"))
    now = timezone.now()
    return listing.page_response([endpoint_json(row, now) for row in rows], count, fields)


@router.post("/webhooks", auth=auth.ADMIN, response={201: SavedOut})
def create_webhook(request: AuthedRequest, response: HttpResponse, body: WebhookIn) -> Status[dict[str, Any]]:
    """The signing secret, if the format signs, is only in this response."""
    saved = services.save_endpoint(_values(body, exclude_unset=True), actor=request.auth)
    response["Location"] = f"{request.path}/{saved.endpoint.pk}"
    return Status(201, _saved_json(saved))


@router.get("/webhooks/{int:webhook_id}", auth=auth.READ, response=WebhookOut)
def get_webhook(request: HttpRequest, webhook_id: int) -> dict[str, Any]:
    return endpoint_json(endpoint_or_404(webhook_id), timezone.now())


@router.patch("/webhooks/{int:webhook_id}", auth=auth.ADMIN, response=SavedOut)
def change_webhook(request: AuthedRequest, webhook_id: int, body: WebhookChangesIn) -> dict[str, Any]:
    """Changes the given fields. `settings` is replaced as a whole; `{"set": true}` keeps a stored secret."""
    return _save(request, webhook_id, body, exclude_unset=True)


@router.put("/webhooks/{int:webhook_id}", auth=auth.ADMIN, response=SavedOut)
def replace_webhook(request: AuthedRequest, webhook_id: int, body: WebhookIn) -> dict[str, Any]:
    """Replaces the whole endpoint. Omitted fields get their defaults; the signing secret stays."""
    return _save(request, webhook_id, body, exclude_unset=False)


def _save(
    request: AuthedRequest, webhook_id: int, body: WebhookChangesIn, *, exclude_unset: bool
) -> dict[str, Any]:
    endpoint = endpoint_or_404(webhook_id)
    values = _values(body, exclude_unset=exclude_unset)
    saved = services.save_endpoint(values, actor=request.auth, endpoint=endpoint, resume=body.resume)
    # The worker may have changed the health columns.
    saved.endpoint.refresh_from_db()
    return _saved_json(saved)


def _values(body: WebhookChangesIn, *, exclude_unset: bool) -> dict[str, Any]:
    return body.model_dump(exclude_unset=exclude_unset, exclude=NOT_FIELDS)


def _saved_json(saved: services.SavedEndpoint) -> dict[str, Any]:
    found = endpoint_json(saved.endpoint, timezone.now())
    return found | ({"secret": saved.secret} if saved.secret else {})


@router.delete("/webhooks/{int:webhook_id}", auth=auth.ADMIN, response={204: None})
def remove_webhook(request: AuthedRequest, webhook_id: int) -> Status[None]:
    """Also removes its deliveries and their attempts."""
    services.remove_endpoint(endpoint_or_404(webhook_id), actor=request.auth)
    return Status(204, None)


@router.post("/webhooks/{int:webhook_id}/rotate", auth=auth.ADMIN, response=SecretOut)
def rotate_secret(request: AuthedRequest, webhook_id: int) -> dict[str, Any]:
    """Returns a new signing secret, only once. For 24 hours messages are signed with the old one too."""
    endpoint = endpoint_or_404(webhook_id)
    secret = services.rotate_secret(endpoint, actor=request.auth)
    return {"secret": secret, "old_secret_until": iso(endpoint.old_secret_until)}


@router.get("/webhooks/health", auth=auth.READ, response=PageOut)
def health_of_webhooks(request: HttpRequest, listing: Query[WebhookListing]) -> ListPage:
    """Health of all endpoints, with the same filters as their list."""
    columns = listing.order({name: name for name in SORTABLE}, "name")
    fields = listing.selected_fields(HEALTH_FIELDS)
    found = selectors.endpoints(search=listing.search, kind=listing.format, enabled=listing.enabled)
    rows, count = listing.rows(found.order_by(*columns, "id"))
    health = health_of_many(rows, timezone.now())
    items = [{"id": row.pk, "name": row.name, **health_json(health[row.pk])} for row in rows]
    return listing.page_response(items, count, fields)


@router.get("/webhooks/{int:webhook_id}/health", auth=auth.READ, response=HealthOut)
def health_of_webhook(request: HttpRequest, webhook_id: int) -> dict[str, Any]:
    """Success ratio and p95 of 24 hours, pending deliveries, circuit breaker, and counts by hour."""
    return health_json(health_of(endpoint_or_404(webhook_id), timezone.now()))
