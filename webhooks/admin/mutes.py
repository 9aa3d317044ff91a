"""The admin of mutes and maintenance windows. They are never changed, so the audit trail has every one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from cronsim import CronSim, CronSimError
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from core.access import Role
from core.access.permissions import RoleModelAdmin, principal_of
from core.timeformat import local_time, time_element
from programs.admin.events import badge
from programs.forms.fields import DurationField, seconds_text
from webhooks import services, validation
from webhooks.models import WebhookEndpoint, WebhookMute
from webhooks.outbox import writer

from .responses import respond, role_view

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[WebhookMute]
else:
    ModelForm = forms.ModelForm

SHOWN_STARTS = 3
FIELDS = ("endpoint", "program", "starts_at", "ends_at", "cron", "cron_seconds", "reason")


def next_starts(cron: str, now: datetime, count: int = SHOWN_STARTS) -> list[datetime]:
    """The next times that match, in local time of the server. Raises ValidationError."""
    validation.cron(cron)
    try:
        # In the repeated hour of autumn the first can have passed.
        times = (at for at in CronSim(cron, local_time(now)) if at.astimezone(UTC) > now)
        return [next(times) for _number in range(count)]
    except (CronSimError, StopIteration) as error:
        raise ValidationError(_("This expression never matches.")) from error


def next_starts_text(cron: str, now: datetime) -> str:
    return _("next: %s") % ", ".join(f"{at:%a %Y-%m-%d %H:%M %Z}" for at in next_starts(cron, now))


class MuteForm(ModelForm):
    cron_seconds = DurationField(
        label=gettext_lazy("Window length"),
        required=False,
        help_text=gettext_lazy("Example: 30m, 2h. Default: 1h."),
    )

    everything = forms.BooleanField(
        label=gettext_lazy("Mute everything"),
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text=gettext_lazy("Required if no endpoint, program, end or window limits the mute."),
    )

    class Meta:
        model = WebhookMute
        fields = FIELDS
        labels: ClassVar = {
            "endpoint": gettext_lazy("Endpoint"),
            "program": gettext_lazy("Program"),
            "starts_at": gettext_lazy("Start"),
            "ends_at": gettext_lazy("End"),
            "cron": gettext_lazy("Maintenance windows"),
            "reason": gettext_lazy("Reason"),
        }
        help_texts: ClassVar = {
            "endpoint": gettext_lazy("Empty: all endpoints."),
            "program": gettext_lazy("Empty: all events."),
            "starts_at": gettext_lazy("In UTC."),
            "ends_at": gettext_lazy("In UTC. Empty: until the mute is removed."),
            "cron": gettext_lazy(
                "Mute only in windows that start at these times, in local time of the server. Cron expression: "
                "minute, hour, day, month, weekday. 0 3 * * 0 is Sundays at 03:00. Empty: all the time."
            ),
            "reason": gettext_lazy("Shown in the log with the cancelled deliveries."),
        }
        widgets: ClassVar = {
            "cron": UnfoldAdminTextInputWidget(
                {"placeholder": "0 3 * * 0", "spellcheck": "false", "data-cron": ""}
            )
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if cron := self.fields.get("cron"):
            cron.widget.attrs["data-cron"] = reverse("admin:webhooks_mute_next")

    def clean_cron_seconds(self) -> int:
        # The field is optional: most mutes have no windows.
        return self.cleaned_data["cron_seconds"] or 3600

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        starts_at, ends_at = cleaned.get("starts_at"), cleaned.get("ends_at")
        if starts_at and ends_at and ends_at <= starts_at:
            self.add_error("ends_at", _("The end must be after the start."))
        bounds = ("endpoint", "program", "ends_at", "cron", "everything")
        if not self.errors and not any(cleaned.get(name) for name in bounds):
            self.add_error("everything", services.UNBOUNDED)
        return cleaned


@admin.register(WebhookMute)
class MuteAdmin(RoleModelAdmin):
    write_role = Role.OPERATE
    form = MuteForm
    list_display = ("what", "state", "when", "windows", "reason", "actor")
    list_display_links = ("what",)
    list_select_related = ("endpoint", "program")
    search_fields = ("reason",)
    autocomplete_fields = ("endpoint", "program")
    compressed_fields = True

    class Media:
        css = {"all": ["monitor/css/webhooks.css"]}
        js = (
            Script("monitor/local_times.js", type="module"),
            Script("monitor/cron_preview.js", type="module"),
        )

    def get_urls(self) -> list[URLPattern]:
        next_view = role_view(self.admin_site, Role.READ, self.next_view)
        remove = role_view(self.admin_site, Role.OPERATE, self.remove_view)
        return [
            path("next/", next_view, name="webhooks_mute_next"),
            path("<int:object_id>/lift/", remove, name="webhooks_mute_lift"),
            *super().get_urls(),
        ]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        # Only `?endpoint=5` is taken from the URL.
        wanted = request.GET.get("endpoint", "")
        known = re.fullmatch("[0-9]{1,18}", wanted) and WebhookEndpoint.objects.filter(pk=wanted).exists()
        return {"endpoint": int(wanted)} if known else {}

    def get_fieldsets(self, request: HttpRequest, obj: WebhookMute | None = None) -> Any:
        return ((None, {"fields": FIELDS if obj else (*FIELDS, "everything")}),)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: WebhookMute, form: MuteForm, change: bool) -> None:
        given = {name: form.cleaned_data[name] for name in (*FIELDS, "everything")}
        obj.pk = services.mute(actor=principal_of(request), **given).pk

    def delete_model(self, request: HttpRequest, obj: WebhookMute) -> None:
        services.unmute(obj, actor=principal_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[WebhookMute]) -> None:
        for row in queryset:
            services.unmute(row, actor=principal_of(request))

    def _audit(self, request: HttpRequest, verb: str, obj: Any, message: Any) -> None:
        """The services write the audit entry."""

    def remove_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        row = get_object_or_404(WebhookMute.objects.select_related("endpoint"), pk=object_id)
        back = row.endpoint or row
        if request.method == "POST":
            services.unmute(row, actor=principal_of(request))
            if row.endpoint:
                return respond(request, back, messages.SUCCESS, _("The mute was removed."))
        return HttpResponseRedirect(reverse("admin:webhooks_webhookmute_changelist"))

    def next_view(self, request: HttpRequest) -> JsonResponse:
        """`{"text": "next: …"}` for the expression in the query; with `wrong` if it is invalid."""
        try:
            # Cut to the length of the column.
            return JsonResponse({"text": next_starts_text(request.GET.get("cron", "")[:100], timezone.now())})
        except ValidationError as error:
            return JsonResponse({"text": " ".join(error.messages), "wrong": True})

    @admin.display(description=gettext_lazy("Mutes"))
    def what(self, row: WebhookMute) -> str:
        endpoint = row.endpoint.name if row.endpoint else _("all endpoints")
        return _("%(endpoint)s for %(program)s") % {
            "endpoint": endpoint,
            "program": row.program.name if row.program else _("all events"),
        }

    @admin.display(description=gettext_lazy("State"))
    def state(self, row: WebhookMute) -> SafeString:
        now = timezone.now()
        if row.ends_at and row.ends_at <= now:
            return badge("", _("ended"))
        if writer.mute_rule(row).is_active(now):
            return badge("warning", _("active"))
        return badge("", _("scheduled"))

    @admin.display(description=gettext_lazy("Start, end"))
    def when(self, row: WebhookMute) -> SafeString:
        end = time_element(row.ends_at) if row.ends_at else _("until removed")
        return format_html("{} … {}", time_element(row.starts_at), end)

    @admin.display(description=gettext_lazy("Windows"))
    def windows(self, row: WebhookMute) -> SafeString | str:
        if not row.cron:
            return "—"
        try:
            starts = next_starts_text(row.cron, max(timezone.now(), row.starts_at))
        except ValidationError as error:
            starts = " ".join(error.messages)
        length = seconds_text(row.cron_seconds)
        return format_html('<code>{}</code> ({}) <span class="quiet">{}</span>', row.cron, length, starts)
