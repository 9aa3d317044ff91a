"""Preview of an unsaved endpoint form, with the last event that it would send."""

from __future__ import annotations

import json
from collections.abc import Callable
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
from webhooks.transports.message import build_message

from .form import EndpointForm
from .responses import role_view
from .target_form import TargetForm

SEARCHED_EVENTS = 200


@dataclass(frozen=True)
class PreviewSource:
    """The event that a preview shows; None for an example. `is_wanted`: it matches the form's subscription."""

    body: payload.Body
    event: ProgramEvent | None
    is_wanted: bool


class PreviewPage(RoleModelAdmin):
    def preview_urls(self) -> list[URLPattern]:
        view = role_view(self.admin_site, Role.ADMIN, self.preview_view)
        return [
            path("add/preview/", view, name="webhooks_endpoint_preview_new"),
            path("<int:object_id>/preview/", view, name="webhooks_endpoint_preview"),
        ]

    def preview_view(self, request: HttpRequest, object_id: int | None = None) -> HttpResponse:
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id) if object_id else None
        form = EndpointForm(request.POST or None, instance=endpoint)
        # The script wants only the inner part of the page.
        is_part = request.headers.get("X-Requested-With") == "fetch"
        template = "preview_part.html" if is_part else "preview.html"
        context = {**self.admin_site.each_context(request), "title": _("Preview"), **_preview(form)}
        return TemplateResponse(request, f"admin/webhooks/endpoint/{template}", context)


def _preview(form: EndpointForm) -> dict[str, Any]:
    # Only URL and settings must be valid: people preview while they still fill in the form.
    if not form.is_bound:
        return {"mistakes": [_("Fill in the form first.")]}
    form.is_valid()
    target = form["target"].data
    if not isinstance(target, TargetForm) or not target.is_valid():
        return {"mistakes": _target_errors(target)}
    source = _preview_source(form)
    url, settings = target.resolved()
    try:
        request = transports.preview(target.kind, settings, source.body, url)
    except (SettingsError, TemplateError) as error:
        return {"mistakes": [str(error)]}
    return {
        "request_shown": {**request, "body": _pretty(request["body"])},
        "message": build_message(source.body) if target.transport.is_chat else None,
        "source": source,
        "format_label": target.transport.label,
        "is_signed": target.transport.is_signed,
    }


def _target_errors(target: Any) -> list[str]:
    if not isinstance(target, TargetForm):
        return [_("Choose a format.")]
    return [
        f"{target.fields[name].label if name in target.fields else ''}: {' '.join(map(str, texts))}".removeprefix(
            ": "
        )
        for name, texts in target.errors.items()
    ]


def _preview_source(form: EndpointForm) -> PreviewSource:
    """The newest matching event, otherwise the newest of a program, otherwise an example."""
    newest = list(ProgramEvent.objects.select_related("program__host").order_by("-seq")[:SEARCHED_EVENTS])
    matching_event = next(filter(_event_filter(form), newest), None)
    # Better a real event that does not match than an example.
    event = matching_event or next((event for event in newest if event.program_id), None)
    if event is None:
        return PreviewSource(_example(), None, is_wanted=False)
    return PreviewSource(payload.build_one(event), event, is_wanted=matching_event is not None)


def _event_filter(form: EndpointForm) -> Callable[[ProgramEvent], bool]:
    """Matches events as the form would; matches none if its fields are invalid."""
    given = form.cleaned_data
    if not {"events", "programs", "tags", "conditions", "min_severity"} <= given.keys():
        return lambda event: False
    subscription = matching.Subscription(
        id=0,
        patterns=tuple(given["events"]),
        programs=frozenset(given["programs"]),
        tags=frozenset(given["tags"]),
        min_severity=given["min_severity"],
        conditions=given["conditions"] or None,
    )
    return lambda event: matching.matches(subscription, writer.matchable_event(event))


def _example() -> payload.Body:
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
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
