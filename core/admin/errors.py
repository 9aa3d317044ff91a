"""The monitor's own errors: read them and mark them as resolved."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST
from unfold.contrib.filters.admin import DropdownFilter

from core.access.login import client_address
from core.access.permissions import RoleModelAdmin, principal_of, role_required
from core.access.roles import Role, has_role
from core.admin.changelist import CappedPaginator, badge
from core.errors.store import resolve
from core.models import ErrorGroup
from core.timeformat import time_element


class StateFilter(DropdownFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("open", _("Open")), ("resolved", _("Resolved"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ErrorGroup]) -> QuerySet[ErrorGroup]:
        wanted = self.value()
        return (
            queryset.filter(resolved_at__isnull=wanted == "open") if wanted in ("open", "resolved") else queryset
        )


class ProcessFilter(DropdownFilter):
    title = _("process")
    parameter_name = "process"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, name) for name in ("agent", "web", "jobs")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ErrorGroup]) -> QuerySet[ErrorGroup]:
        return queryset.filter(process=self.value()) if self.value() else queryset


@admin.register(ErrorGroup)
class ErrorGroupAdmin(RoleModelAdmin):
    """Shows tracebacks to administrators only, since they contain paths and code of this machine."""

    list_display = ("state", "kind", "message", "at", "count", "last_seen")
    list_display_links = ("kind",)
    list_filter = (StateFilter, ProcessFilter)
    list_fullwidth = True
    list_per_page = 50
    search_fields = ("kind", "culprit", "message")
    search_help_text = _("Search by kind, function or message")
    ordering = ("-last_seen_at",)
    paginator = CappedPaginator
    actions = ("resolve_selected",)
    change_form_template = "admin/core/errorgroup/change_form.html"

    class Media:
        js = (Script("monitor/local_times.js", type="module"),)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission

    def get_queryset(self, request: HttpRequest) -> QuerySet[ErrorGroup]:
        return super().get_queryset(request).defer("traceback")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(role_required(Role.OPERATE)(require_POST(self.resolve_view)))
        return [path("<int:object_id>/resolve/", view, name="core_errorgroup_resolve"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = {
            **(extra_context or {}),
            "title": _("Error"),
            "error": self.get_object(request, object_id),
            "may_resolve": has_role(request.user, Role.OPERATE),
            "may_see_traceback": has_role(request.user, Role.ADMIN),
        }
        return super().change_view(request, object_id, form_url, context)

    def resolve_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        group = get_object_or_404(ErrorGroup, pk=object_id)
        self._resolve(request, [group])
        return HttpResponseRedirect(reverse("admin:core_errorgroup_change", args=[group.pk]))

    @admin.action(description=_("Mark as resolved"), permissions=["operate"])
    def resolve_selected(self, request: HttpRequest, queryset: QuerySet[ErrorGroup]) -> None:
        self._resolve(request, list(queryset))

    def _resolve(self, request: HttpRequest, groups: list[ErrorGroup]) -> None:
        done = resolve(groups, principal_of(request), client_address(request))
        text = ngettext("%(n)d error marked as resolved.", "%(n)d errors marked as resolved.", done) % {"n": done}
        messages.success(request, text)

    @badge(_("state"), colours={"open": "danger", "resolved": "success"})
    def state(self, group: ErrorGroup) -> tuple[str, Any]:
        return ("resolved", _("resolved")) if group.resolved_at else ("open", _("open"))

    @admin.display(description=_("where"), ordering="process")
    def at(self, group: ErrorGroup) -> str:
        return f"{group.process}: {group.place}" if group.place else group.process

    @admin.display(description=_("last seen"), ordering="last_seen_at")
    def last_seen(self, group: ErrorGroup) -> SafeString:
        return time_element(group.last_seen_at)
