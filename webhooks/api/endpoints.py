"""`/webhooks`: endpoints. Whoever defines one can send what happens anywhere, so that is for administrators."""

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
from webhooks.models import WebhookEndpoint
from webhooks.schemas import SavedOut, SecretOut, WebhookChangesIn, WebhookIn, WebhookListing, WebhookOut
from webhooks.serializers import endpoint_json

router = Router()
FIELDS = tuple(WebhookOut.model_fields)
SORTABLE = ("id", "name", "format", "enabled", "created_at", "last_success_at")
LARGEST_ID = 2**63 - 1
BESIDE = {"secret", "resume"}  # said along with the values of an endpoint, and none of them


def endpoint_or_404(webhook_id: int) -> WebhookEndpoint:
    found = WebhookEndpoint.objects.filter(pk=webhook_id).first() if 0 < webhook_id <= LARGEST_ID else None
    if found is None:
        raise Http404(f"There is no webhook {webhook_id}.")
    return found


@router.get("/webhooks", auth=auth.READ, response=PageOut)
def list_webhooks(request: HttpRequest, listing: Query[WebhookListing]) -> ListPage:
    """All endpoints. `search` looks at the name."""
    columns = listing.order({name: name for name in SORTABLE}, "name")
    fields = listing.selected_fields(FIELDS)
    found = selectors.endpoints(search=listing.search, kind=listing.format, enabled=listing.enabled)
    rows, count = listing.rows(found.order_by(*columns, "id"))
    now = timezone.now()
    return listing.page_response([endpoint_json(row, now) for row in rows], count, fields)


@router.post("/webhooks", auth=auth.ADMIN, response={201: SavedOut})
def create_webhook(request: AuthedRequest, response: HttpResponse, body: WebhookIn) -> Status[dict[str, Any]]:
    """The signing secret of a format that signs is in this answer alone."""
    saved = services.save_endpoint(_values(body, exclude_unset=True), actor=request.auth)
    response["Location"] = f"{request.path}/{saved.endpoint.pk}"
    return Status(201, _shown(saved))


@router.get("/webhooks/{int:webhook_id}", auth=auth.READ, response=WebhookOut)
def get_webhook(request: HttpRequest, webhook_id: int) -> dict[str, Any]:
    return endpoint_json(endpoint_or_404(webhook_id), timezone.now())


@router.patch("/webhooks/{int:webhook_id}", auth=auth.ADMIN, response=SavedOut)
def change_webhook(request: AuthedRequest, webhook_id: int, body: WebhookChangesIn) -> dict[str, Any]:
    """Changes the given fields; of `settings` the whole, with `{"set": true}` for a secret one that stays."""
    return _save(request, webhook_id, body, exclude_unset=True)


@router.put("/webhooks/{int:webhook_id}", auth=auth.ADMIN, response=SavedOut)
def replace_webhook(request: AuthedRequest, webhook_id: int, body: WebhookIn) -> dict[str, Any]:
    """Replaces the whole endpoint: fields left out go back to their defaults. The secret stays."""
    return _save(request, webhook_id, body, exclude_unset=False)


def _save(
    request: AuthedRequest, webhook_id: int, body: WebhookChangesIn, *, exclude_unset: bool
) -> dict[str, Any]:
    endpoint = endpoint_or_404(webhook_id)
    values = _values(body, exclude_unset=exclude_unset)
    saved = services.save_endpoint(values, actor=request.auth, endpoint=endpoint, resume=body.resume)
    saved.endpoint.refresh_from_db()
    return _shown(saved)


def _values(body: WebhookChangesIn, *, exclude_unset: bool) -> dict[str, Any]:
    return body.model_dump(exclude_unset=exclude_unset, exclude=BESIDE)


def _shown(saved: services.Saved) -> dict[str, Any]:
    shown = endpoint_json(saved.endpoint, timezone.now())
    return shown | ({"secret": saved.secret} if saved.secret else {})


@router.delete("/webhooks/{int:webhook_id}", auth=auth.ADMIN, response={204: None})
def remove_webhook(request: AuthedRequest, webhook_id: int) -> Status[None]:
    """With its deliveries and their log."""
    services.remove_endpoint(endpoint_or_404(webhook_id), actor=request.auth)
    return Status(204, None)


@router.post("/webhooks/{int:webhook_id}/rotate", auth=auth.ADMIN, response=SecretOut)
def rotate_secret(request: AuthedRequest, webhook_id: int) -> dict[str, Any]:
    """A new signing secret, shown this once. For 24 hours messages are signed with the old one as well."""
    endpoint = endpoint_or_404(webhook_id)
    secret = services.rotate_secret(endpoint, actor=request.auth)
    return {"secret": secret, "old_secret_until": iso(endpoint.old_secret_until)}
