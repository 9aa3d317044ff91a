"""The admin of endpoints: the list with their health, and the page of one with its deliveries and its form."""

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
from .endpoint_columns import EndpointColumns, HealthChangeList
from .form import GROUPS, EndpointForm
from .preview import PreviewPage
from .recover import RecoverPage
from .responses import REFUSALS, error_text

FIRST_COLLAPSED_GROUP = 2


@admin.register(WebhookEndpoint)
class EndpointAdmin(EndpointColumns, RecoverPage, PreviewPage):
    form = EndpointForm
    change_list_template = "admin/webhooks/endpoint/change_list.html"
    change_form_template = "admin/webhooks/endpoint/change_form.html"
    list_display = ("title", "state", "share", "slowest", "waiting", "hours")
    list_display_links = ("title",)
    list_filter = ("enabled",)
    # Facets would count the rows of every filter option.
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
        css = {"all": ["monitor/css/webhooks.css"]}
        js = (
            Script("monitor/local_times.js", type="module"),
            Script("monitor/endpoint_page.js", type="module"),
        )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        # The page of an existing endpoint has buttons to enable and disable it.
        hidden = {"enabled"} if obj else set()
        if not request.user.is_superuser:
            hidden.add("verify_tls")
        return [
            (
                name,
                {
                    "fields": [field for field in fields if field not in hidden],
                    "classes": ["collapse"] if index >= FIRST_COLLAPSED_GROUP else [],
                },
            )
            for index, (name, fields) in enumerate(GROUPS)
        ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[HealthChangeList]:
        return HealthChangeList

    def get_urls(self) -> list[URLPattern]:
        return [*self.action_urls(), *self.recover_urls(), *self.preview_urls(), *super().get_urls()]

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
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except REFUSALS as error:  # something changed between validation and saving
            messages.error(request, error_text(error))
            return HttpResponseRedirect(request.path)

    # --- Writing: all through the services ------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: WebhookEndpoint, form: EndpointForm, change: bool) -> None:
        # `form.stored`: the form has already changed `obj`.
        saved = services.save_endpoint(form.values(), actor=principal_of(request), endpoint=form.stored())
        obj.pk = saved.endpoint.pk
        obj.refresh_from_db()
        request.new_webhook_secret = saved.secret  # type: ignore[attr-defined]  # for `response_add` and `response_change`

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The form has no related rows."""

    def response_add(
        self, request: HttpRequest, obj: WebhookEndpoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._show_new_secret(request, obj, super().response_add(request, obj, post_url_continue))

    def response_change(self, request: HttpRequest, obj: WebhookEndpoint) -> HttpResponse:
        response = super().response_change(request, obj)
        if "_continue" in request.POST and isinstance(response, HttpResponseRedirect):
            response = HttpResponseRedirect(f"{response.url}#settings")
        return self._show_new_secret(request, obj, response)

    def _show_new_secret(self, request: HttpRequest, obj: WebhookEndpoint, response: HttpResponse) -> HttpResponse:
        secret: str = getattr(request, "new_webhook_secret", "")
        return self.secret_page(request, obj, secret) if secret else response

    def _audit(self, request: HttpRequest, verb: str, obj: Any, message: Any) -> None:
        """The services write the audit entry."""

    # --- Removing -------------------------------------------------------------------------------------

    def get_deleted_objects(
        self, objs: Sequence[WebhookEndpoint] | QuerySet[WebhookEndpoint], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        # A count instead of a list: one endpoint can have ten thousand deliveries.
        endpoints = list(objs)
        count = WebhookDelivery.objects.filter(endpoint__in=endpoints).count()
        return [str(endpoint) for endpoint in endpoints], {_("deliveries in the log"): count}, set(), []

    def delete_model(self, request: HttpRequest, obj: WebhookEndpoint) -> None:
        services.remove_endpoint(obj, actor=principal_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        for endpoint in queryset:
            services.remove_endpoint(endpoint, actor=principal_of(request))
