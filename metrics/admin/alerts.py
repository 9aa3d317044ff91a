"""Alerts in the admin: the read-only list, and firing alerts on other pages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.paginator import InfinitePaginator

from core.timeformat import time_element
from metrics.alerts import selectors
from metrics.alerts.models import Alert, AlertRule
from programs.admin.events import ReadOnlyAdmin
from programs.admin.filters import ProgramFilter, SinceFilter
from programs.formatting import duration_text
from programs.models import Program

from .alert_text import (
    amount,
    lasted_text,
    limit_text,
    program_link,
    rule_link,
    severity_badge,
    state_badge,
    watched_text,
)

MAX_NOTICES = 5


class AlertStateFilter(DropdownFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("firing", _("firing")), ("resolved", _("resolved"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        is_open = selectors.IS_OPEN_BY_STATE.get(self.value() or "")
        return queryset if is_open is None else queryset.filter(resolved_at__isnull=is_open)


class RuleFilter(DropdownFilter):
    title = _("rule")
    parameter_name = "rule"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(str(pk), name) for pk, name in AlertRule.objects.order_by("name").values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value() or ""
        return queryset.filter(rule=int(wanted)) if re.fullmatch("[0-9]{1,18}", wanted) else queryset


class StartedSinceFilter(SinceFilter):
    column = "started_at"


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    paginator = InfinitePaginator
    list_display = ("when", "status", "severity_label", "rule_label", "about", "reading", "lasted", "why")
    list_display_links = ("when",)
    list_filter = (
        AlertStateFilter,
        RuleFilter,
        ProgramFilter,
        ("severity", ChoicesDropdownFilter),
        StartedSinceFilter,
    )
    list_fullwidth = True
    search_fields = ("rule_name", "program_name")
    search_help_text = _("Rule or program")
    sortable_by = ()
    fields = (
        *("status", "severity_label", "rule_label", "about", "watched", "reading", "extremes"),
        *("when", "over", "lasted", "why"),
    )
    readonly_fields = fields

    class Media:
        css = {"all": ["monitor/css/alert_rules.css"]}
        js = (Script("monitor/local_times.js", type="module"),)

    @admin.display(description=_("Fired at"))
    def when(self, row: Alert) -> SafeString:
        return time_element(row.started_at)

    @admin.display(description=_("Resolved at"))
    def over(self, row: Alert) -> SafeString | str:
        return time_element(row.resolved_at) if row.resolved_at else "—"

    @admin.display(description=_("State"))
    def status(self, row: Alert) -> SafeString:
        return state_badge(row)

    @admin.display(description=_("Severity"))
    def severity_label(self, row: Alert) -> SafeString:
        return severity_badge(row)

    @admin.display(description=_("Rule"))
    def rule_label(self, row: Alert) -> SafeString | str:
        return rule_link(row)

    @admin.display(description=_("Program"))
    def about(self, row: Alert) -> SafeString | str:
        return program_link(row)

    @admin.display(description=_("Value when fired"))
    def reading(self, row: Alert) -> str:
        return f"{row.get_metric_display()} {amount(row.value, row.metric)} ({limit_text(row)})"

    @admin.display(description=_("Condition when fired"))
    def watched(self, row: Alert) -> str:
        return watched_text(row)

    @admin.display(description=_("Lowest to highest"))
    def extremes(self, row: Alert) -> str:
        return f"{amount(row.lowest, row.metric)} … {amount(row.highest, row.metric)}"

    @admin.display(description=_("Duration"))
    def lasted(self, row: Alert) -> str:
        return lasted_text(row, timezone.now())

    @admin.display(description=_("Resolution"))
    def why(self, row: Alert) -> str:
        return row.get_reason_display() or "—"


# --- On other pages -------------------------------------------------------------------------------------


def badge(request: HttpRequest) -> str:
    """The number of firing alerts for the side bar; empty if there are none."""
    return str(selectors.alerts("firing").count() or "")


def firing_alerts(limit: int) -> list[dict[str, Any]]:
    return [
        {
            "badge": severity_badge(alert),
            "rule": rule_link(alert),
            "program": program_link(alert),
            "words": f"{alert.get_metric_display()} {amount(alert.value, alert.metric)} ({limit_text(alert)})",
        }
        for alert in selectors.alerts("firing")[:limit]
    ]


def notices(program: Program) -> list[SafeString]:
    found = list(selectors.firing_alerts_of(program.pk)[: MAX_NOTICES + 1])
    shown = [_notice(alert) for alert in found[:MAX_NOTICES]]
    return [*shown, format_html("{}", _("and more alerts"))] if len(found) > MAX_NOTICES else shown


def _notice(alert: Alert) -> SafeString:
    seconds = (timezone.now() - alert.started_at).total_seconds()
    text = f"{alert.get_metric_display()} {amount(alert.value, alert.metric)} ({limit_text(alert)})"
    since = _("for %s") % duration_text(seconds)
    return format_html("{} {} {}, {}", state_badge(alert), rule_link(alert), text, since)
