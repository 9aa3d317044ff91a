"""The delivery log: a list with filters, and a page for each delivery with all its attempts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.paginator import InfinitePaginator

from core.access import Role
from core.access.permissions import principal_of
from core.timeformat import time_element
from programs.admin.events import ReadOnlyAdmin, badge
from programs.admin.filters import EventTypeFilter, ProgramFilter, SinceFilter
from programs.descriptions import summary
from programs.models import Incident, ProgramEvent
from webhooks import selectors, services
from webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint

from .responses import REFUSALS, change_url, error_text, respond, role_view

State = WebhookDelivery.State
NOTHING = "—"
OVERDUE_SECONDS = 10
BADGE_TONES: dict[str, str] = {
    State.DELIVERED: "good",
    State.PENDING: "",
    State.CANCELLED: "",
    State.EXPIRED: "warning",
    State.FAILED: "error",
    State.EXHAUSTED: "error",
    State.BLOCKED: "error",
    State.DEAD: "error",
}
ERROR_CLASSES = {
    "dns": gettext_lazy("host name not found"),
    "refused": gettext_lazy("connection refused"),
    "timeout": gettext_lazy("timeout"),
    "tls": gettext_lazy("TLS error"),
    "reset": gettext_lazy("connection reset"),
    "malformed": gettext_lazy("invalid HTTP response"),
    "failed": gettext_lazy("rejected by the service"),
    "status": "",  # the error already says: answered 503
    "template": gettext_lazy("message cannot be rendered"),
    "blocked": gettext_lazy("address not allowed"),
    "internal": gettext_lazy("error in the monitor"),
}


def state_badge(delivery: WebhookDelivery) -> SafeString:
    return badge(BADGE_TONES.get(delivery.state, ""), delivery.state)


def event_summary(event: ProgramEvent) -> str:
    return summary(event.type, event.program_name, event.data if isinstance(event.data, dict) else {})


def attempt_error_text(attempt: WebhookAttempt) -> str:
    label = str(ERROR_CLASSES.get(attempt.error_class, attempt.error_class))
    return f"{label}: {attempt.error}" if label and attempt.error else label or attempt.error


def table_rows(deliveries: Iterable[WebhookDelivery]) -> list[dict[str, Any]]:
    """Template context for each delivery; event and attempts must be prefetched."""
    return [_table_row(delivery) for delivery in deliveries]


def _table_row(delivery: WebhookDelivery) -> dict[str, Any]:
    attempts = list(delivery.attempts.all())
    last = attempts[-1] if attempts else None
    return {
        "delivery": delivery,
        "page": change_url(delivery),
        "badge": state_badge(delivery),
        "summary": event_summary(delivery.event),
        "last": last,
        "words": attempt_error_text(last) if last else "",
        "next": next_attempt_at(delivery),
    }


def next_attempt_at(delivery: WebhookDelivery) -> datetime | None:
    # During a request the column holds the end of the lease, which is not a planned attempt.
    at = delivery.next_attempt_at
    return at if at and delivery.lease_until is None and at > timezone.now() else None


# --- Filters --------------------------------------------------------------------------------------------


class EndpointFilter(DropdownFilter):
    title = gettext_lazy("endpoint")
    parameter_name = "endpoint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(str(pk), name) for pk, name in selectors.endpoints().values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value() or ""
        return queryset.filter(endpoint=int(wanted)) if re.fullmatch("[0-9]{1,18}", wanted) else queryset


class DeliveryTypeFilter(EventTypeFilter):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(event__type=self.value()) if self.value() else queryset


class DeliveryProgramFilter(ProgramFilter):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value() or ""
        return queryset.filter(event__program=int(wanted)) if re.fullmatch("[0-9]{1,18}", wanted) else queryset


class DeliverySinceFilter(SinceFilter):
    column = "created_at"


# --- The log --------------------------------------------------------------------------------------------


@admin.register(WebhookDelivery)
class DeliveryAdmin(ReadOnlyAdmin):
    # Does not count the rows: the log can be very long.
    paginator = InfinitePaginator
    change_form_template = "admin/webhooks/delivery/change_form.html"
    list_display = ("when", "to", "state_label", "about", "what", "tries", "last_answer")
    list_display_links = ("when",)
    list_filter = (
        EndpointFilter,
        ("state", ChoicesDropdownFilter),
        DeliveryTypeFilter,
        DeliveryProgramFilter,
        DeliverySinceFilter,
    )
    list_fullwidth = True
    search_fields = ("=id", "=event__uid", "event__program_name")
    search_help_text = gettext_lazy("Program, message id or event id")
    sortable_by = ()
    ordering = ("-id",)  # ids increase with time, and only their index covers all endpoints

    class Media:
        css = {"all": ["monitor/css/webhooks.css"]}
        js = (
            Script("monitor/local_times.js", type="module"),
            Script("monitor/delivery_progress.js", type="module"),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        # Subqueries: prefetching all attempts of a page would load their responses.
        last = WebhookAttempt.objects.filter(delivery=OuterRef("pk")).order_by("-number")
        rows: QuerySet[WebhookDelivery] = super().get_queryset(request)
        return rows.select_related("event", "endpoint").annotate(
            last_status=Subquery(last.values("status")[:1]), last_error=Subquery(last.values("error")[:1])
        )

    def get_urls(self) -> list[URLPattern]:
        progress = role_view(self.admin_site, Role.READ, self.progress_view)
        redeliver = role_view(self.admin_site, Role.OPERATE, self.redeliver_view)
        return [
            path("<str:object_id>/progress/", progress, name="webhooks_delivery_progress"),
            path("<str:object_id>/redeliver/", redeliver, name="webhooks_delivery_redeliver"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        delivery = self._found(unquote(object_id))
        extra = (
            {**delivery_context(delivery), "can_operate": self.has_operate_permission(request)} if delivery else {}
        )
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **extra})

    def progress_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        # Only the state and the attempts: the page polls it while a delivery is pending.
        delivery = get_object_or_404(selectors.deliveries_with_attempts(), pk=object_id)
        if not self.has_view_permission(request, delivery):
            raise PermissionDenied
        return render(request, "admin/webhooks/delivery/progress.html", delivery_context(delivery))

    def redeliver_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        delivery = get_object_or_404(selectors.deliveries(), pk=object_id)
        if request.method != "POST":
            return HttpResponseRedirect(change_url(delivery))
        try:
            services.redeliver(delivery, actor=principal_of(request))
        except REFUSALS as error:
            return respond(request, delivery, messages.ERROR, error_text(error))
        progress = reverse("admin:webhooks_delivery_progress", args=[delivery.pk])
        text = _("The delivery was queued again, with the same id.")
        return respond(request, delivery, messages.SUCCESS, text, progress=progress)

    def _found(self, pk: str) -> WebhookDelivery | None:
        return selectors.deliveries_with_attempts().filter(pk=pk).first()

    @admin.display(description=gettext_lazy("When"))
    def when(self, row: WebhookDelivery) -> SafeString:
        return time_element(row.created_at)

    @admin.display(description=gettext_lazy("Endpoint"))
    def to(self, row: WebhookDelivery) -> SafeString:
        return format_html('<a class="link" href="{}">{}</a>', change_url(row.endpoint), row.endpoint.name)

    @admin.display(description=gettext_lazy("State"))
    def state_label(self, row: WebhookDelivery) -> SafeString:
        return state_badge(row)

    @admin.display(description=gettext_lazy("Event"))
    def about(self, row: WebhookDelivery) -> str:
        return row.event.type

    @admin.display(description=gettext_lazy("Summary"))
    def what(self, row: WebhookDelivery) -> str:
        return event_summary(row.event)

    @admin.display(description=gettext_lazy("Attempts"))
    def tries(self, row: WebhookDelivery) -> int:
        return row.attempt_count

    @admin.display(description=gettext_lazy("Last response"))
    def last_answer(self, row: Any) -> str:
        return row.last_error or row.reason or (str(row.last_status) if row.last_status else NOTHING)


def delivery_context(delivery: WebhookDelivery) -> dict[str, Any]:
    """Template context; event, endpoint and attempts must be prefetched."""
    attempts = [(attempt, attempt_error_text(attempt)) for attempt in delivery.attempts.all()]
    is_pending = delivery.state == State.PENDING
    return {
        "delivery": delivery,
        "endpoint": delivery.endpoint,
        "endpoint_page": change_url(delivery.endpoint),
        "event": delivery.event,
        "event_page": change_url(delivery.event),
        "incident": Incident.objects.filter(event=delivery.event).first(),
        "title": _("Delivery to %(name)s") % {"name": delivery.endpoint.name},
        "badge": state_badge(delivery),
        "meaning": delivery.get_state_display(),
        "summary": event_summary(delivery.event),
        "attempts": attempts,
        "next": next_attempt_at(delivery),
        "is_untried": is_pending and not attempts,
        "is_test": delivery.event.type == "webhook.test",
        "hold_up": _waiting_reason(delivery, delivery.endpoint) if is_pending else "",
    }


def _waiting_reason(delivery: WebhookDelivery, endpoint: WebhookEndpoint) -> str:
    now = timezone.now()
    if not endpoint.enabled:
        return _("The endpoint is disabled.")
    if endpoint.paused_until and endpoint.paused_until > now:
        return _("The endpoint is paused. One probe is sent every minute.")
    due_since = max(
        delivery.next_attempt_at or now, delivery.created_at
    )  # tests are due long before their creation
    if (now - due_since).total_seconds() > OVERDUE_SECONDS:
        return _("The delivery is due, but no worker has claimed it. Are the agent and the jobs running?")
    return ""
