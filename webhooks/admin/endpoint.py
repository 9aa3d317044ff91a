"""Endpoints in the admin: the list with their health, the page of one with its log, and its form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.access.permissions import principal_of
from webhooks import services
from webhooks.models import WebhookDelivery, WebhookEndpoint

from . import endpoint_page
from .columns import EndpointColumns, HealthChangeList
from .form import GROUPS, EndpointForm
from .preview import PreviewPage
from .recover import CatchingUp
from .responses import REFUSALS, words_of

FOLDED_GROUPS = 2  # from this one on


@admin.register(WebhookEndpoint)
class EndpointAdmin(EndpointColumns, CatchingUp, PreviewPage):
    form = EndpointForm
    change_list_template = "admin/webhooks/endpoint/change_list.html"
    change_form_template = "admin/webhooks/endpoint/change_form.html"
    list_display = ("title", "state", "share", "slowest", "waiting", "hours")
    list_display_links = ("title",)
    list_filter = ("enabled",)
    show_facets = admin.ShowFacets.NEVER
    list_fullwidth = True
    list_per_page = 100
    search_fields = ("name",)
    search_help_text = gettext_lazy("Name")
    actions = ("switch_on_selected", "switch_off_selected")
    ordering = ("name",)
    warn_unsaved_form = True
    compressed_fields = True

    class Media:
        js = (
            Script("monitor/times.js", type="module"),
            Script("monitor/endpoint.js", type="module"),
        )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without what the buttons of the page ask, and what is not this person's to decide."""
        left_out = {"enabled"} if obj else set()
        if not request.user.is_superuser:
            left_out.add("verify_tls")
        return [
            (
                name,
                {
                    "fields": [field for field in fields if field not in left_out],
                    "classes": ["collapse"] if index >= FOLDED_GROUPS else [],
                },
            )
            for index, (name, fields) in enumerate(GROUPS)
        ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[HealthChangeList]:
        return HealthChangeList

    def get_urls(self) -> list[URLPattern]:
        return [*self.verb_urls(), *self.catching_up_urls(), *self.preview_urls(), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        endpoint = self.get_object(request, object_id)
        extra = endpoint_page.context(endpoint) if endpoint else {}
        if endpoint and not self.has_change_permission(request, endpoint):
            extra["settings_shown"] = endpoint_page.settings_shown(endpoint)
        extra["can_operate"] = self.has_operate_permission(request)
        extra["can_administer"] = self.has_administer_permission(request)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **extra})

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """What the service refuses only now, because something changed since the form was judged, is told."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except REFUSALS as error:
            messages.error(request, words_of(error))
            return HttpResponseRedirect(request.path)

    # --- Writing: all through the services ------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: WebhookEndpoint, form: EndpointForm, change: bool) -> None:
        saved = services.save_endpoint(form.values(), actor=principal_of(request), endpoint=form.stored())
        obj.pk = saved.endpoint.pk
        obj.refresh_from_db()
        request.new_webhook_secret = saved.secret  # type: ignore[attr-defined]  # for the answer to this request

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Nothing: there are no related rows in the form."""

    def response_add(
        self, request: HttpRequest, obj: WebhookEndpoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        """A new secret comes before everything else: it is shown this once."""
        return self._secret_first(request, obj, super().response_add(request, obj, post_url_continue))

    def response_change(self, request: HttpRequest, obj: WebhookEndpoint) -> HttpResponse:
        response = super().response_change(request, obj)
        if "_continue" in request.POST and isinstance(response, HttpResponseRedirect):
            response = HttpResponseRedirect(f"{response.url}#settings")
        return self._secret_first(request, obj, response)

    def _secret_first(self, request: HttpRequest, obj: WebhookEndpoint, response: HttpResponse) -> HttpResponse:
        secret: str = getattr(request, "new_webhook_secret", "")
        return self.secret_page(request, obj, secret) if secret else response

    def _audit(self, request: HttpRequest, verb: str, obj: Any, message: Any) -> None:
        """Nothing: the services leave the row."""

    # --- Removing -------------------------------------------------------------------------------------

    def get_deleted_objects(
        self, objs: Sequence[WebhookEndpoint] | QuerySet[WebhookEndpoint], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Names and a count: the log of one endpoint can have ten thousand rows."""
        doomed = list(objs)
        count = WebhookDelivery.objects.filter(endpoint__in=doomed).count()
        return [str(endpoint) for endpoint in doomed], {_("deliveries in the log"): count}, set(), []

    def delete_model(self, request: HttpRequest, obj: WebhookEndpoint) -> None:
        services.remove_endpoint(obj, actor=principal_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        for endpoint in queryset:
            services.remove_endpoint(endpoint, actor=principal_of(request))
