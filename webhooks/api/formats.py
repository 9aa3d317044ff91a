"""Message formats and previews."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest
from ninja import Router

from core.masking import MASK
from core.rest import auth
from core.secrets import SecretUnreadableError
from programs.models import ProgramEvent
from webhooks import services, transports
from webhooks.models import WebhookEndpoint
from webhooks.previews import PreviewJson, preview
from webhooks.schemas import EventIn, FormatsOut, PreviewIn, PreviewOut

from .endpoints import endpoint_or_404

router = Router()


@router.get("/webhooks/formats", auth=auth.READ, response=FormatsOut)
def list_formats(request: HttpRequest) -> dict[str, Any]:
    """All formats with the JSON Schema of their settings."""
    return {"items": [_format(transports.get(kind)) for kind in transports.kinds()]}


def _format(transport: Any) -> dict[str, Any]:
    same = ("kind", "label", "url_hint", "is_chat", "is_signed")
    return {**{name: getattr(transport, name) for name in same}, "settings": transport.schema()}


@router.post("/webhooks/{int:webhook_id}/preview", auth=auth.OPERATE, response=PreviewOut)
def preview_webhook(request: HttpRequest, webhook_id: int, body: EventIn) -> PreviewJson:
    """The request that this endpoint would get for the last event, or for the given one. Nothing is sent."""
    endpoint = endpoint_or_404(webhook_id)
    try:
        url, settings = endpoint.url, endpoint.settings
    except SecretUnreadableError as error:
        raise ValidationError({"url": str(error)}) from error
    return preview(endpoint.format, settings, url=url, event=_event(body.event))


@router.post("/webhooks/preview", auth=auth.ADMIN, response=PreviewOut)
def preview_values(request: HttpRequest, body: PreviewIn) -> PreviewJson:
    """Like the preview of an endpoint, for unsaved values."""
    stored = endpoint_or_404(body.webhook) if body.webhook else WebhookEndpoint()
    values = body.model_dump()
    url, settings = values["url"], values["settings"]
    try:
        # The masked URL stands for the stored one.
        if url == services.SET or MASK in url:
            url = stored.url
        kept = {name: stored.settings.get(name, "") for name, value in settings.items() if value == services.SET}
    except SecretUnreadableError as error:
        raise ValidationError({"url": str(error)}) from error
    return preview(body.format, settings | kept, url=url, event=_event(body.event))


def _event(uid: str | None) -> ProgramEvent | None:
    if uid is None:
        return None
    found = ProgramEvent.objects.filter(uid=uid).select_related("program__host").first()
    if found is None:
        raise Http404("Event not found.")
    return found
