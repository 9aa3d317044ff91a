"""The audit trail, read-only."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter, FieldTextFilter, RangeDateTimeFilter

from core.access.permissions import RoleModelAdmin
from core.access.roles import Role
from core.admin.changelist import CappedPaginator, badge
from core.models import AuditEntry
from core.timeformat import time_element


class OutcomeFilter(DropdownFilter):
    """Fixed choices, because reading the distinct values would scan the whole table."""

    title = _("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("done", _("Done")), ("failed", _("Failed")), ("refused", _("Refused"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(outcome=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(RoleModelAdmin):
    view_role = Role.ADMIN
    list_display = ("when", "actor", "action", "target", "result", "address")
    list_filter = (
        ("at", RangeDateTimeFilter),
        OutcomeFilter,
        ("action", FieldTextFilter),
        ("actor", FieldTextFilter),
    )
    list_filter_submit = True
    search_fields = ("target",)
    search_help_text = _("Search by target")
    list_per_page = 100
    paginator = CappedPaginator
    fields = ("when", "actor", "action", "target", "result", "address", "details")
    readonly_fields = fields

    class Media:
        js = (Script("monitor/local_times.js", type="module"),)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission

    @admin.display(description=_("time"), ordering="at")
    def when(self, entry: AuditEntry) -> SafeString:
        return time_element(entry.at)

    @badge(_("outcome"), ordering="outcome", colours={"done": "success", "failed": "warning", "refused": "danger"})
    def result(self, entry: AuditEntry) -> str:
        return entry.outcome

    @admin.display(description=_("details"))
    def details(self, entry: AuditEntry) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(entry.data, indent=2, ensure_ascii=False))
