"""`/webhooks/mutes`: mutes and maintenance windows. Changes are for operators."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Query, Router, Status

from core.rest import auth
from core.rest.auth import AuthedRequest
from core.rest.lists import ListPage
from programs.models import Program
from programs.schemas import PageOut
from webhooks import selectors, services
from webhooks.models import WebhookEndpoint, WebhookMute
from webhooks.schemas import MuteChangesIn, MuteListing, MuteOut
from webhooks.serializers import mute_json

router = Router()
FIELDS = tuple(MuteOut.model_fields)
ORDER = {"id": "id", "starts_at": "starts_at", "ends_at": "ends_at"}
MAX_ID = 2**63 - 1


def mute_or_404(mute_id: int) -> WebhookMute:
    # SQLite raises an error for larger numbers.
    found = selectors.mutes().filter(pk=mute_id).first() if 0 < mute_id <= MAX_ID else None
    if found is None:
        raise Http404(f"Mute {mute_id} not found.")
    return found


@router.get("/webhooks/mutes", auth=auth.READ, response=PageOut)
def list_mutes(request: HttpRequest, listing: Query[MuteListing]) -> ListPage:
    """Newest first. `search` matches the reason."""
    columns, fields = listing.order(ORDER, "-starts_at"), listing.selected_fields(FIELDS)
    now = timezone.now()
    found = selectors.mutes()
    if listing.current is not None:
        has_ended = Q(ends_at__lte=now)
        found = found.exclude(has_ended) if listing.current else found.filter(has_ended)
    if listing.search:
        found = found.filter(reason__icontains=listing.search)
    rows, count = listing.rows(found.order_by(*columns, "-id"))
    return listing.page_response([mute_json(row, now) for row in rows], count, fields)


@router.post("/webhooks/mutes", auth=auth.OPERATE, response={201: MuteOut})
def create_mute(request: AuthedRequest, response: HttpResponse, body: MuteChangesIn) -> Status[dict[str, Any]]:
    """Events during a mute get a cancelled delivery, and can be sent later with `replay`."""
    made = services.mute(actor=request.auth, **_values(body))
    response["Location"] = f"{request.path}/{made.pk}"
    return Status(201, mute_json(made, timezone.now()))


@router.get("/webhooks/mutes/{int:mute_id}", auth=auth.READ, response=MuteOut)
def get_mute(request: HttpRequest, mute_id: int) -> dict[str, Any]:
    return mute_json(mute_or_404(mute_id), timezone.now())


@router.patch("/webhooks/mutes/{int:mute_id}", auth=auth.OPERATE, response=MuteOut)
def change_mute(request: AuthedRequest, mute_id: int, body: MuteChangesIn) -> dict[str, Any]:
    """Changes the given fields, for events from now on."""
    values = _values(body)
    if "starts_at" in values and values["starts_at"] is None:
        values["starts_at"] = timezone.now()
    return mute_json(services.change_mute(mute_or_404(mute_id), values, actor=request.auth), timezone.now())


@router.delete("/webhooks/mutes/{int:mute_id}", auth=auth.OPERATE, response={204: None})
def remove_mute(request: AuthedRequest, mute_id: int) -> Status[None]:
    services.unmute(mute_or_404(mute_id), actor=request.auth)
    return Status(204, None)


def _values(body: MuteChangesIn) -> dict[str, Any]:
    given = body.model_dump(exclude_unset=True)
    if "webhook" in given:
        given["endpoint"] = _by_id(WebhookEndpoint, given.pop("webhook"), "webhook")
    if "program" in given:
        given["program"] = _by_id(Program, given["program"], "program")
    return given


def _by_id(model: Any, pk: int | None, field: str) -> Any:
    if pk is None:
        return None
    found = model.objects.filter(pk=pk).first()
    if found is None:
        raise ValidationError({field: f"There is no {field} {pk}."})
    return found
