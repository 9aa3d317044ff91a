"""The read-only lists of events, incidents and hosts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter
from unfold.paginator import InfinitePaginator

from core.access.permissions import RoleModelAdmin
from core.timeformat import time_element
from programs import hosts
from programs.formatting import bytes_text, duration_text, exit_text, percent_text
from programs.models import Host, Incident, ProgramEvent

from .event_text import event_text
from .filters import EventTypeFilter, ProgramFilter, SinceFilter
from .history import label, value_text

# Metrics before a crash, written by the metrics app: label and format of a value.
METRICS: dict[str, tuple[Any, Callable[[Any], str]]] = {
    "cpu_percent": (gettext_lazy("CPU in the 10 minutes before"), percent_text),
    "memory_bytes": (gettext_lazy("Memory in the 10 minutes before"), bytes_text),
}


def badge(tone: str, text: str) -> SafeString:
    return format_html('<span class="badge" data-tone="{}">{}</span>', tone, text)


class ReadOnlyAdmin(RoleModelAdmin):
    """For rows that only the monitor writes."""

    actions = None
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "show_history": False})


class RecordAdmin(ReadOnlyAdmin):
    """For large tables sorted by time: pages without a COUNT query."""

    paginator = InfinitePaginator

    class Media:
        js = (Script("monitor/local_times.js", type="module"),)

    @admin.display(description=gettext_lazy("Time"))
    def when(self, row: ProgramEvent | Incident) -> SafeString:
        return time_element(row.timestamp)

    @admin.display(description=gettext_lazy("Program"))
    def program_link(self, row: ProgramEvent | Incident) -> SafeString | str:
        if row.program_id is None:
            return row.program_name or "—"
        url = reverse("admin:programs_program_change", args=[row.program_id])
        return format_html('<a class="link" href="{}">{}</a>', url, row.program_name)


@admin.register(ProgramEvent)
class ProgramEventAdmin(RecordAdmin):
    list_display = ("when", "severity_label", "type", "program_link", "description", "actor")
    list_display_links = ("when",)
    list_filter = (
        EventTypeFilter,
        ("severity", ChoicesDropdownFilter),
        ProgramFilter,
        SinceFilter,
    )
    list_fullwidth = True
    search_fields = ("program_name", "actor", "uid")
    search_help_text = gettext_lazy("Program, user or event ID")
    sortable_by = ()
    fields = (
        "when",
        "severity",
        "type",
        "program_link",
        "process_index",
        "actor",
        "description",
        "data",
        "uid",
        "seq",
    )
    readonly_fields = ("when", "program_link", "description")

    @admin.display(description=gettext_lazy("Severity"))
    def severity_label(self, event: ProgramEvent) -> SafeString:
        return badge(event.severity, event.get_severity_display())

    @admin.display(description=gettext_lazy("Description"))
    def description(self, event: ProgramEvent) -> str:
        return event_text(event)


@admin.register(Incident)
class IncidentAdmin(RecordAdmin):
    list_display = ("when", "program_link", "meaning", "ending", "ran_for")
    list_display_links = ("when", "meaning")
    list_filter = (ProgramFilter, ("out_of_memory", BooleanRadioFilter), SinceFilter)
    search_fields = ("program_name", "meaning", "exit_signal")
    search_help_text = gettext_lazy("Program, meaning or signal")
    sortable_by = ()
    change_form_template = "admin/programs/incident/change_form.html"

    @admin.display(description=gettext_lazy("Exit"))
    def ending(self, incident: Incident) -> str:
        return exit_text(incident.exit_code, incident.exit_signal)

    @admin.display(description=gettext_lazy("Uptime"))
    def ran_for(self, incident: Incident) -> str:
        return "—" if incident.uptime_seconds is None else duration_text(incident.uptime_seconds)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        incident = self.get_object(request, object_id)
        context = {**(extra_context or {}), **(incident_context(incident) if incident else {})}
        return super().change_view(request, object_id, form_url, context)


def incident_context(incident: Incident) -> dict[str, Any]:
    similar = Incident.objects.filter(fingerprint=incident.fingerprint).exclude(pk=incident.pk)
    return {
        "incident": incident,
        "title": _("%(name)s crashed") % {"name": incident.program_name},
        "ending": exit_text(incident.exit_code, incident.exit_signal),
        "uptime": "" if incident.uptime_seconds is None else duration_text(incident.uptime_seconds),
        "lines": incident.log_lines,
        "metrics": [_metric_summary(name, value) for name, value in incident.metrics_before.items()],
        "changes": [_change(change) for change in incident.changes_before],
        "alike_count": similar.count(),
        "alike": similar[:5],
    }


def _metric_summary(name: str, value: Any) -> tuple[str, str]:
    title, text = METRICS.get(name, (label(name), value_text))
    if not (isinstance(value, list) and value and isinstance(value[0], list)):
        return str(title), value_text(value)
    values = [number for _time, number in value]
    summary = _("max %(highest)s, last %(last)s") % {"highest": text(max(values)), "last": text(values[-1])}
    return str(title), summary


def _change(change: dict[str, Any]) -> dict[str, Any]:
    at = datetime.fromisoformat(change["at"])
    return {**change, "fields": ", ".join(map(label, change["changes"])), "at": time_element(at)}


@admin.register(Host)
class HostAdmin(ReadOnlyAdmin):
    list_display = ("name", "alive", "last_heartbeat", "version", "platform", "is_default")
    search_fields = ("name",)
    ordering = ("name",)
    show_full_result_count = True  # there are only a few hosts

    @admin.display(description=gettext_lazy("Agent"))
    def alive(self, host: Host) -> SafeString:
        if hosts.is_alive(host.heartbeat_at, timezone.now()):
            return badge("good", _("alive"))
        return badge("error", _("no heartbeat"))

    @admin.display(description=gettext_lazy("Last heartbeat"), ordering="heartbeat_at")
    def last_heartbeat(self, host: Host) -> SafeString | str:
        return time_element(host.heartbeat_at) if host.heartbeat_at else _("never")
