"""How the last real event would look with a form that is not saved yet."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from core.access import Role
from core.access.permissions import RoleModelAdmin
from programs.models import ProgramEvent
from webhooks import transports
from webhooks.models import WebhookEndpoint
from webhooks.outbox import matching, payload, writer
from webhooks.placeholders import TemplateError
from webhooks.transports.base import SettingsError
from webhooks.transports.message import message_of

from .form import EndpointForm
from .responses import guarded
from .target_form import TargetForm

LOOKED_AT = 200  # the newest events, among which is probably one that the endpoint wants


@dataclass(frozen=True)
class Told:
    """The event that a preview tells of. `is_wanted`: by the rules of the form; `event` is None for an example."""

    body: payload.Body
    event: ProgramEvent | None
    is_wanted: bool


class PreviewPage(RoleModelAdmin):
    """Answers a POST of the form with a page; our script asks for the middle of it alone."""

    def preview_urls(self) -> list[URLPattern]:
        view = guarded(self.admin_site, Role.ADMIN, self.preview_view)
        return [
            path("add/preview/", view, name="webhooks_endpoint_preview_new"),
            path("<int:object_id>/preview/", view, name="webhooks_endpoint_preview"),
        ]

    def preview_view(self, request: HttpRequest, object_id: int | None = None) -> HttpResponse:
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id) if object_id else None
        form = EndpointForm(request.POST or None, instance=endpoint)
        is_part = request.headers.get("X-Requested-With") == "fetch"
        template = "preview_part.html" if is_part else "preview.html"
        context = {**self.admin_site.each_context(request), "title": _("Preview"), **_preview(form)}
        return TemplateResponse(request, f"admin/webhooks/endpoint/{template}", context)


def _preview(form: EndpointForm) -> dict[str, Any]:
    """Only what the address and the settings are has to be right; everything else may still be missing."""
    if not form.is_bound:
        return {"mistakes": [_("Fill in the form first.")]}
    form.is_valid()
    target = form["target"].data
    if not isinstance(target, TargetForm) or not target.is_valid():
        return {"mistakes": _mistakes(target)}
    told = _told(form)
    url, settings = target.clear()
    try:
        shown = transports.preview(target.kind, settings, told.body, url)
    except (SettingsError, TemplateError) as error:
        return {"mistakes": [str(error)]}
    return {
        "request_shown": {**shown, "body": _pretty(shown["body"])},
        "message": message_of(told.body) if _is_for_people(target) else None,
        "told": told,
        "format_label": target.transport.label,
        "is_signed": target.transport.is_signed,
    }


def _mistakes(target: Any) -> list[str]:
    if not isinstance(target, TargetForm):
        return [_("Choose a format.")]
    return [
        f"{target.fields[name].label if name in target.fields else ''}: {' '.join(map(str, texts))}".removeprefix(
            ": "
        )
        for name, texts in target.errors.items()
    ]


def _is_for_people(target: TargetForm) -> bool:
    return target.transport.is_chat


def _told(form: EndpointForm) -> Told:
    """The newest event that the form's rules let through; else the newest of a program; else an example."""
    newest = list(ProgramEvent.objects.select_related("program__host").order_by("-seq")[:LOOKED_AT])
    wanted = next(filter(_wish(form), newest), None)
    event = wanted or next((event for event in newest if event.program_id), None)
    if event is None:
        return Told(_example(), None, is_wanted=False)
    return Told(payload.build_one(event), event, is_wanted=wanted is not None)


def _wish(form: EndpointForm) -> Any:
    """The form's rules as a question to an event; nothing passes rules that are not valid."""
    given = form.cleaned_data
    if not {"events", "programs", "tags", "conditions", "min_severity"} <= given.keys():
        return lambda event: False
    target = matching.Target(
        id=0,
        patterns=tuple(given["events"]),
        programs=frozenset(given["programs"]),
        tags=frozenset(given["tags"]),
        min_severity=given["min_severity"],
        conditions=given["conditions"] or None,
    )
    return lambda event: matching.wants(target, writer.subject(event))


def _example() -> payload.Body:
    """For a monitor in which nothing has happened yet: never stored, so it belongs to no program."""
    data = {"exit_code": 1, "meaning": "a general error", "uptime_seconds": 4012, "delay_seconds": 0}
    event = ProgramEvent(
        pk=0,
        seq=0,
        type="program.crashed",
        severity=ProgramEvent.Severity.ERROR,
        program_name=_("example"),
        timestamp=timezone.now(),
        data=data,
    )
    return payload.build_one(event)


def _pretty(text: str) -> str:
    """JSON with line breaks; anything else as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
