"""How deliveries do: of one endpoint, or of a page of them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router

from core.rest import auth
from core.rest.lists import ListPage
from programs.schemas import PageOut
from webhooks import selectors
from webhooks.health import health_of, health_of_many
from webhooks.schemas import HealthOut, WebhookListing
from webhooks.serializers import health_json

from .endpoints import SORTABLE, endpoint_or_404

router = Router()
FIELDS = ("id", "name", *HealthOut.model_fields)


@router.get("/webhooks/health", auth=auth.READ, response=PageOut)
def health_of_webhooks(request: HttpRequest, listing: Query[WebhookListing]) -> ListPage:
    """Of all endpoints, with the same filters as their list."""
    columns = listing.order({name: name for name in SORTABLE}, "name")
    fields = listing.selected_fields(FIELDS)
    found = selectors.endpoints(search=listing.search, kind=listing.format, enabled=listing.enabled)
    rows, count = listing.rows(found.order_by(*columns, "id"))
    health = health_of_many(rows, timezone.now())
    items = [{"id": row.pk, "name": row.name, **health_json(health[row.pk])} for row in rows]
    return listing.page_response(items, count, fields)


@router.get("/webhooks/{int:webhook_id}/health", auth=auth.READ, response=HealthOut)
def health_of_webhook(request: HttpRequest, webhook_id: int) -> dict[str, Any]:
    """Success share and 95th percentile of 24 hours, what waits, the circuit, and the hours one by one."""
    return health_json(health_of(endpoint_or_404(webhook_id), timezone.now()))
