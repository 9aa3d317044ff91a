"""Actions on endpoints: test, enable, disable, mute, rotate the secret. Only POST changes anything."""

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

from .responses import REFUSALS, change_url, error_text, respond, role_view, wants_json

MAX_MUTE_HOURS = 24 * 366
Endpoints = QuerySet[WebhookEndpoint]


class EndpointActions(RoleModelAdmin):
    @admin.action(description=gettext_lazy("Enable"), permissions=["administer"])
    def switch_on_selected(self, request: HttpRequest, queryset: Endpoints) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            return self._confirm_enabling(request, list(queryset), action="switch_on_selected")
        self._set_enabled(request, list(queryset), enabled=True)
        return None

    @admin.action(description=gettext_lazy("Disable"), permissions=["administer"])
    def switch_off_selected(self, request: HttpRequest, queryset: Endpoints) -> None:
        self._set_enabled(request, list(queryset), enabled=False)

    def action_urls(self) -> list[URLPattern]:
        views = (
            ("test", Role.OPERATE, self.test_view),
            ("mute", Role.OPERATE, self.mute_view),
            ("switch-on", Role.ADMIN, self.enable_view),
            ("switch-off", Role.ADMIN, self.disable_view),
            ("rotate", Role.ADMIN, self.rotate_view),
        )
        return [
            path(
                f"<int:object_id>/{action}/",
                role_view(self.admin_site, role, view),
                name=f"webhooks_endpoint_{action}",
            )
            for action, role, view in views
        ]

    def test_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        if request.method != "POST":
            return HttpResponseRedirect(change_url(endpoint))
        try:
            delivery = services.send_test(endpoint, actor=principal_of(request))
        except REFUSALS as error:
            return respond(request, endpoint, messages.ERROR, error_text(error))
        if wants_json(request):
            progress = reverse("admin:webhooks_delivery_progress", args=[delivery.pk])
            return respond(request, delivery, messages.SUCCESS, _("The test was queued."), progress=progress)
        return HttpResponseRedirect(change_url(delivery))

    def mute_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        if request.method != "POST":
            return HttpResponseRedirect(change_url(endpoint))
        hours = request.POST.get("hours", "")
        if not re.fullmatch("[0-9]{1,4}", hours) or not 0 < int(hours) <= MAX_MUTE_HOURS:
            return respond(request, endpoint, messages.ERROR, _("Enter the number of hours."))
        ends_at = timezone.now() + timedelta(hours=int(hours))
        services.mute(endpoint=endpoint, ends_at=ends_at, actor=principal_of(request))
        text = ngettext("%(name)s is muted for %(n)d hour.", "%(name)s is muted for %(n)d hours.", int(hours))
        return respond(request, endpoint, messages.SUCCESS, text % {"name": endpoint.name, "n": int(hours)})

    def enable_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        if request.method != "POST":
            return self._confirm_enabling(request, [endpoint])
        self._set_enabled(request, [endpoint], enabled=True)
        return HttpResponseRedirect(change_url(endpoint))

    def disable_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        if request.method == "POST":
            self._set_enabled(request, [endpoint], enabled=False)
        return HttpResponseRedirect(change_url(endpoint))

    def _set_enabled(self, request: HttpRequest, endpoints: list[WebhookEndpoint], *, enabled: bool) -> None:
        resume, done = request.POST.get("pending") == "resume", 0
        for endpoint in endpoints:
            try:
                services.save_endpoint(
                    {"enabled": enabled}, endpoint=endpoint, resume=resume, actor=principal_of(request)
                )
                done += 1
            except REFUSALS as error:  # does not stop the others
                messages.error(request, f"{endpoint.name}: {error_text(error)}")
        if done:
            on = ngettext("%(n)d endpoint was enabled.", "%(n)d endpoints were enabled.", done)
            off = ngettext("%(n)d endpoint was disabled.", "%(n)d endpoints were disabled.", done)
            messages.success(request, (on if enabled else off) % {"n": done})

    def _confirm_enabling(
        self, request: HttpRequest, endpoints: list[WebhookEndpoint], action: str = ""
    ) -> TemplateResponse:
        pending = WebhookDelivery.objects.filter(endpoint__in=endpoints, state=WebhookDelivery.State.PENDING)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Enable"),
            "endpoints": endpoints,
            "action": action,
            "waiting": pending.count(),
            "back": change_url(endpoints[0]) if len(endpoints) == 1 else "../",
        }
        return TemplateResponse(request, "admin/webhooks/endpoint/switch_on.html", context)

    def rotate_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        if endpoint.format not in transports.kinds() or not transports.get(endpoint.format).is_signed:
            raise Http404(_("Messages in this format are not signed."))
        if request.method == "POST":
            secret = services.rotate_secret(endpoint, actor=principal_of(request))
            return self.secret_page(request, endpoint, secret, is_rotated=True)
        context = {"title": _("New signing secret"), "endpoint": endpoint, "back": change_url(endpoint)}
        return self._page(request, "rotate.html", context)

    def secret_page(
        self, request: HttpRequest, endpoint: WebhookEndpoint, secret: str, *, is_rotated: bool = False
    ) -> TemplateResponse:
        # In this response only: a message would be stored in a cookie or the session.
        context = {
            "title": _("Signing secret of %(name)s") % {"name": endpoint.name},
            "endpoint": endpoint,
            "secret": secret,
            "is_rotated": is_rotated,
            "page": change_url(endpoint),
        }
        response = self._page(request, "secret.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, f"admin/webhooks/endpoint/{template}", context)
