"""The log of deliveries: a list to read and to search, and a page for each with every try."""

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

from .responses import REFUSALS, answer, guarded, page_of, words_of

State = WebhookDelivery.State
NOTHING = "—"
TONES: dict[str, str] = {
    State.DELIVERED: "good",
    State.PENDING: "",
    State.CANCELLED: "",
    State.EXPIRED: "warning",
    State.FAILED: "error",
    State.EXHAUSTED: "error",
    State.BLOCKED: "error",
    State.DEAD: "error",
}
CLASSES = {
    "dns": gettext_lazy("name not known"),
    "refused": gettext_lazy("no connection"),
    "timeout": gettext_lazy("too slow"),
    "tls": gettext_lazy("encryption failed"),
    "reset": gettext_lazy("interrupted"),
    "malformed": gettext_lazy("no HTTP"),
    "failed": gettext_lazy("refused by the service"),
    "status": "",  # the error says it: answered 503
    "template": gettext_lazy("message cannot be made"),
    "blocked": gettext_lazy("address not allowed"),
    "internal": gettext_lazy("fault in the monitor"),
}


def state_badge(delivery: WebhookDelivery) -> SafeString:
    return badge(TONES.get(delivery.state, ""), delivery.state)


def told(event: ProgramEvent) -> str:
    return summary(event.type, event.program_name, event.data if isinstance(event.data, dict) else {})


def attempt_words(attempt: WebhookAttempt) -> str:
    """What went wrong, in words; empty when nothing did."""
    label = str(CLASSES.get(attempt.error_class, attempt.error_class))
    return f"{label}: {attempt.error}" if label and attempt.error else label or attempt.error


def rows_of(deliveries: Iterable[WebhookDelivery]) -> list[dict[str, Any]]:
    """Rows of a table, of deliveries loaded with event and attempts."""
    rows = []
    for delivery in deliveries:
        tries = list(delivery.attempts.all())
        last = tries[-1] if tries else None
        about = {"delivery": delivery, "page": page_of(delivery), "badge": state_badge(delivery)}
        words = attempt_words(last) if last else ""
        rows.append(
            {**about, "told": told(delivery.event), "last": last, "words": words, "next": next_try(delivery)}
        )
    return rows


def next_try(delivery: WebhookDelivery) -> datetime | None:
    """When it is planned; None while it is under way (the column holds the sender's lease then) or due already."""
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


class OfType(EventTypeFilter):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(event__type=self.value()) if self.value() else queryset


class OfProgram(ProgramFilter):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value() or ""
        return queryset.filter(event__program=int(wanted)) if re.fullmatch("[0-9]{1,18}", wanted) else queryset


class Since(SinceFilter):
    column = "created_at"


# --- The log --------------------------------------------------------------------------------------------


@admin.register(WebhookDelivery)
class DeliveryAdmin(ReadOnlyAdmin):
    paginator = InfinitePaginator
    change_form_template = "admin/webhooks/delivery/change_form.html"
    list_display = ("when", "to", "state_label", "about", "what", "tries", "last_answer")
    list_display_links = ("when",)
    list_filter = (EndpointFilter, ("state", ChoicesDropdownFilter), OfType, OfProgram, Since)
    list_fullwidth = True
    search_fields = ("=id", "=event__uid", "event__program_name")
    search_help_text = gettext_lazy("Program, message id or event id")
    sortable_by = ()
    ordering = ("-id",)  # ids rise with time, and their index is the only one over all endpoints

    class Media:
        js = (
            Script("monitor/times.js", type="module"),
            Script("monitor/delivery.js", type="module"),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        last = WebhookAttempt.objects.filter(delivery=OuterRef("pk")).order_by("-number")
        rows: QuerySet[WebhookDelivery] = super().get_queryset(request)
        return rows.select_related("event", "endpoint").annotate(
            last_status=Subquery(last.values("status")[:1]), last_error=Subquery(last.values("error")[:1])
        )

    def get_urls(self) -> list[URLPattern]:
        progress = guarded(self.admin_site, Role.READ, self.progress_view)
        again = guarded(self.admin_site, Role.OPERATE, self.redeliver_view)
        return [
            path("<str:object_id>/progress/", progress, name="webhooks_delivery_progress"),
            path("<str:object_id>/redeliver/", again, name="webhooks_delivery_redeliver"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        delivery = self._found(unquote(object_id))
        extra = {**card(delivery), "can_operate": self.has_operate_permission(request)} if delivery else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **extra})

    def progress_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What has come of it so far, alone, for a page to renew it."""
        delivery = get_object_or_404(selectors.deliveries_with_attempts(), pk=object_id)
        if not self.has_view_permission(request, delivery):
            raise PermissionDenied
        return render(request, "admin/webhooks/delivery/progress.html", card(delivery))

    def redeliver_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        delivery = get_object_or_404(selectors.deliveries(), pk=object_id)
        if request.method != "POST":
            return HttpResponseRedirect(page_of(delivery))
        try:
            services.redeliver(delivery, actor=principal_of(request))
        except REFUSALS as error:
            return answer(request, delivery, messages.ERROR, words_of(error))
        progress = reverse("admin:webhooks_delivery_progress", args=[delivery.pk])
        text = _("It is on its way again, with the same id.")
        return answer(request, delivery, messages.SUCCESS, text, progress=progress)

    def _found(self, pk: str) -> WebhookDelivery | None:
        return selectors.deliveries_with_attempts().filter(pk=pk).first()

    @admin.display(description=gettext_lazy("When"))
    def when(self, row: WebhookDelivery) -> SafeString:
        return time_element(row.created_at)

    @admin.display(description=gettext_lazy("Endpoint"))
    def to(self, row: WebhookDelivery) -> SafeString:
        return format_html('<a class="link" href="{}">{}</a>', page_of(row.endpoint), row.endpoint.name)

    @admin.display(description=gettext_lazy("State"))
    def state_label(self, row: WebhookDelivery) -> SafeString:
        return state_badge(row)

    @admin.display(description=gettext_lazy("Event"))
    def about(self, row: WebhookDelivery) -> str:
        return row.event.type

    @admin.display(description=gettext_lazy("What happened"))
    def what(self, row: WebhookDelivery) -> str:
        return told(row.event)

    @admin.display(description=gettext_lazy("Tries"))
    def tries(self, row: WebhookDelivery) -> int:
        return row.attempt_count

    @admin.display(description=gettext_lazy("Last answer"))
    def last_answer(self, row: Any) -> str:
        return row.last_error or row.reason or (str(row.last_status) if row.last_status else NOTHING)


def card(delivery: WebhookDelivery) -> dict[str, Any]:
    """Everything known about one delivery that was loaded with its event, endpoint and attempts."""
    tries = [(attempt, attempt_words(attempt)) for attempt in delivery.attempts.all()]
    is_pending = delivery.state == State.PENDING
    return {
        "delivery": delivery,
        "endpoint": delivery.endpoint,
        "endpoint_page": page_of(delivery.endpoint),
        "event": delivery.event,
        "event_page": page_of(delivery.event),
        "incident": Incident.objects.filter(event=delivery.event).first(),
        "title": _("Delivery to %(name)s") % {"name": delivery.endpoint.name},
        "badge": state_badge(delivery),
        "meaning": delivery.get_state_display(),
        "told": told(delivery.event),
        "attempts": tries,
        "next": next_try(delivery),
        "is_untried": is_pending and not tries,
        "is_test": delivery.event.type == "webhook.test",
        "hold_up": _hold_up(delivery, delivery.endpoint) if is_pending else "",
    }


def _hold_up(delivery: WebhookDelivery, endpoint: WebhookEndpoint) -> str:
    """Why something that is due is not sent yet, as far as its row and its endpoint tell."""
    now = timezone.now()
    if not endpoint.enabled:
        return _("The endpoint is switched off.")
    if endpoint.paused_until and endpoint.paused_until > now:
        return _("The endpoint is paused; one try a minute is made.")
    due_since = max(delivery.next_attempt_at or now, delivery.created_at)  # tests are due before all others
    if (now - due_since).total_seconds() > OVERDUE_SECONDS:
        return _("It is due, but no sender has taken it: are the agent and the jobs running?")
    return ""


OVERDUE_SECONDS = 10
