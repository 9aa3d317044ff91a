"""Test, switch, mute, rotate: in bulk and from an endpoint's page. By POST alone; a GET asks first."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from core.access import Role
from core.access.permissions import RoleModelAdmin, principal_of
from webhooks import services, transports
from webhooks.models import WebhookDelivery, WebhookEndpoint

from .responses import REFUSALS, answer, guarded, page_of, wants_json, words_of

LONGEST_MUTE_HOURS = 24 * 366
Endpoints = QuerySet[WebhookEndpoint]


class EndpointVerbs(RoleModelAdmin):
    """The verbs of endpoints as bulk actions and as pages."""

    @admin.action(description=gettext_lazy("Switch on"), permissions=["administer"])
    def switch_on_selected(self, request: HttpRequest, queryset: Endpoints) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            return self._ask_to_switch_on(request, list(queryset), action="switch_on_selected")
        self._switch(request, list(queryset), enabled=True)
        return None

    @admin.action(description=gettext_lazy("Switch off"), permissions=["administer"])
    def switch_off_selected(self, request: HttpRequest, queryset: Endpoints) -> None:
        self._switch(request, list(queryset), enabled=False)

    def verb_urls(self) -> list[URLPattern]:
        views = (
            ("test", Role.OPERATE, self.test_view),
            ("mute", Role.OPERATE, self.mute_view),
            ("switch-on", Role.ADMIN, self.switch_on_view),
            ("switch-off", Role.ADMIN, self.switch_off_view),
            ("rotate", Role.ADMIN, self.rotate_view),
        )
        return [
            path(
                f"<int:object_id>/{verb}/", guarded(self.admin_site, role, view), name=f"webhooks_endpoint_{verb}"
            )
            for verb, role, view in views
        ]

    def test_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Sends a test; where it goes on is the page of that delivery."""
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        if request.method != "POST":
            return HttpResponseRedirect(page_of(endpoint))
        try:
            delivery = services.send_test(endpoint, actor=principal_of(request))
        except REFUSALS as error:
            return answer(request, endpoint, messages.ERROR, words_of(error))
        if wants_json(request):
            progress = reverse("admin:webhooks_delivery_progress", args=[delivery.pk])
            return answer(request, delivery, messages.SUCCESS, _("The test is on its way."), progress=progress)
        return HttpResponseRedirect(page_of(delivery))

    def mute_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        if request.method != "POST":
            return HttpResponseRedirect(page_of(endpoint))
        hours = request.POST.get("hours", "")
        if not re.fullmatch("[0-9]{1,4}", hours) or not 0 < int(hours) <= LONGEST_MUTE_HOURS:
            return answer(request, endpoint, messages.ERROR, _("Say for how many hours."))
        ends_at = timezone.now() + timedelta(hours=int(hours))
        services.mute(endpoint=endpoint, ends_at=ends_at, actor=principal_of(request))
        text = ngettext("%(name)s is silent for %(n)d hour.", "%(name)s is silent for %(n)d hours.", int(hours))
        return answer(request, endpoint, messages.SUCCESS, text % {"name": endpoint.name, "n": int(hours)})

    def switch_on_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        if request.method != "POST":
            return self._ask_to_switch_on(request, [endpoint])
        self._switch(request, [endpoint], enabled=True)
        return HttpResponseRedirect(page_of(endpoint))

    def switch_off_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        if request.method == "POST":
            self._switch(request, [endpoint], enabled=False)
        return HttpResponseRedirect(page_of(endpoint))

    def _switch(self, request: HttpRequest, endpoints: list[WebhookEndpoint], *, enabled: bool) -> None:
        """Each for itself: one whose settings are not valid any more does not keep the others from it."""
        resume, done = request.POST.get("pending") == "resume", 0
        for endpoint in endpoints:
            try:
                services.save_endpoint(
                    {"enabled": enabled}, endpoint=endpoint, resume=resume, actor=principal_of(request)
                )
                done += 1
            except REFUSALS as error:
                messages.error(request, f"{endpoint.name}: {words_of(error)}")
        if done:
            on = ngettext("%(n)d endpoint is on.", "%(n)d endpoints are on.", done)
            off = ngettext("%(n)d endpoint is off.", "%(n)d endpoints are off.", done)
            messages.success(request, (on if enabled else off) % {"n": done})

    def _ask_to_switch_on(
        self, request: HttpRequest, endpoints: list[WebhookEndpoint], action: str = ""
    ) -> TemplateResponse:
        waiting = WebhookDelivery.objects.filter(endpoint__in=endpoints, state=WebhookDelivery.State.PENDING)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Switch on"),
            "endpoints": endpoints,
            "action": action,
            "waiting": waiting.count(),
            "back": page_of(endpoints[0]) if len(endpoints) == 1 else "../",
        }
        return TemplateResponse(request, "admin/webhooks/endpoint/switch_on.html", context)

    def rotate_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        if endpoint.format not in transports.kinds() or not transports.get(endpoint.format).is_signed:
            raise Http404(_("Messages of this format are not signed."))
        if request.method == "POST":
            secret = services.rotate_secret(endpoint, actor=principal_of(request))
            return self.secret_page(request, endpoint, secret, is_rotated=True)
        context = {"title": _("New signing secret"), "endpoint": endpoint, "back": page_of(endpoint)}
        return self._page(request, "rotate.html", context)

    def secret_page(
        self, request: HttpRequest, endpoint: WebhookEndpoint, secret: str, *, is_rotated: bool = False
    ) -> TemplateResponse:
        """The secret is in this one answer: not in a message, which would lie in a cookie or the session."""
        context = {
            "title": _("The signing secret of %(name)s") % {"name": endpoint.name},
            "endpoint": endpoint,
            "secret": secret,
            "is_rotated": is_rotated,
            "page": page_of(endpoint),
        }
        response = self._page(request, "secret.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        shown = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, f"admin/webhooks/endpoint/{template}", shown)
