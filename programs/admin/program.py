"""The admin of programs: the list, the page of one program and its form."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from programs import services
from programs.definition.conversion import definition_json
from programs.forms import GROUPS, ProgramForm, definition_warnings
from programs.models import Host, Program

from . import adoption, extensions, history, live, program_page
from .actions import ProgramActions, actor_of
from .columns import ProgramColumns
from .filters import HostFilter, StateFilter, TagFilter, search
from .removal import RemovalPages

OPEN_GROUPS = 4  # the others are collapsed


@admin.register(Program)
class ProgramAdmin(ProgramColumns, ProgramActions, RemovalPages):
    form = ProgramForm
    change_list_template = "admin/programs/program/change_list.html"
    change_form_template = "admin/programs/program/change_form.html"
    object_history_template = "admin/programs/program/history.html"
    list_display = ("title", "state", "cpu", "memory", "uptime", "restarts", "instances")
    list_filter = (StateFilter, TagFilter, HostFilter, ("restart_policy", ChoicesDropdownFilter))
    show_facets = admin.ShowFacets.NEVER
    list_fullwidth = True
    list_per_page = 100
    search_fields = ("name", "description", "command")  # and tags, see `search`
    search_help_text = _("Name, description, command or tag")
    show_full_result_count = False
    actions = ("start_selected", "stop_selected", "restart_selected", "kill_selected")
    ordering = ("name",)
    warn_unsaved_form = True
    compressed_fields = True
    fieldsets = [
        (name, {"fields": fields, "classes": ["collapse"] if index >= OPEN_GROUPS else []})
        for index, (name, fields) in enumerate(GROUPS)
    ]

    class Media:
        css = {"all": ["monitor/css/programs.css"]}
        js = (
            Script("monitor/program_list.js", type="module"),
            Script("monitor/program_page.js", type="module"),
            Script("monitor/form_rows.js", type="module"),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Program]:
        return live.with_totals(super().get_queryset(request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[live.LiveChangeList]:
        return live.LiveChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Program], search_term: str
    ) -> tuple[QuerySet[Program], bool]:
        return search(queryset, search_term), False

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        columns = extensions.with_columns(self.list_display)
        columns = columns if Host.objects.count() < 2 else (*columns, "on_host")
        return (*columns, "buttons") if self.has_operate_permission(request) else columns

    def get_urls(self) -> list[URLPattern]:
        adopt = adoption.urls(self.admin_site)
        activity = path(
            "<int:object_id>/activity/",
            self.admin_site.admin_view(self.activity_view),
            name="programs_program_activity",
        )
        return [*self.action_urls(), *adopt, activity, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        more = {"verb_table": json.dumps(live.VERB_TABLE), "added_scripts": extensions.scripts()}
        return super().changelist_view(request, {**(extra_context or {}), **more})

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """`?copy=5` starts with the definition of program 5; other parameters are ignored."""
        wanted = request.GET.get("copy", "")
        try:
            original = Program.objects.select_related("host").get(pk=int(wanted))
        except (ValueError, ObjectDoesNotExist):
            return {}
        return {**definition_json(original), "name": _("%(name)s copy") % {"name": original.name}}

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        program = self.get_object(request, object_id)
        extra = program_page.context(program) if program else {}
        if program and not self.has_change_permission(request, program):
            extra["settings_shown"] = program_page.settings_shown(program)
        extra["can_operate"] = self.has_operate_permission(request)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **extra})

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        names = Program.objects.order_by("name").values_list("name", flat=True)
        return super().render_change_form(request, {**context, "program_names": names}, *args, **kwargs)

    def activity_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        program = get_object_or_404(Program, pk=object_id)
        if not self.has_view_permission(request, program):
            raise PermissionDenied
        return render(
            request, "admin/programs/program/activity.html", {"program": program, **program_page.activity(program)}
        )

    def save_model(self, request: HttpRequest, obj: Program, form: ProgramForm, change: bool) -> None:
        saved = services.save_definition(form.values(), actor=actor_of(request), program=form.stored())
        obj.pk = saved.program.pk
        obj.refresh_from_db()
        self._warn(request, obj, saved.applies)
        if change:
            self._say_when_it_applies(request, saved)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Does nothing: the service has saved the dependencies too."""

    def response_change(self, request: HttpRequest, obj: Program) -> HttpResponse:
        response = super().response_change(request, obj)
        if "_continue" in request.POST and isinstance(response, HttpResponseRedirect):
            return HttpResponseRedirect(f"{response.url}#settings")
        return response

    def _warn(self, request: HttpRequest, program: Program, changed: Collection[str]) -> None:
        found = [
            f"{history.label(field)}: {note}"
            for field, notes in definition_warnings(program).items()
            if field in changed
            for note in notes
        ]
        if found:
            messages.warning(request, " ".join(found))

    def _say_when_it_applies(self, request: HttpRequest, saved: services.Saved) -> None:
        when: dict[str, list[str]] = {"live": [], "restart": []}
        for field, applies in saved.applies.items():
            when[applies].append(history.label(field))
        parts = []
        if when["live"]:
            parts.append(_("In effect now: %(fields)s.") % {"fields": ", ".join(when["live"])})
        if when["restart"]:
            text = _("In effect at the next restart: %(fields)s.") % {"fields": ", ".join(when["restart"])}
            parts.append(format_html("{} {}", text, program_page.restart_button(saved.program)))
        if parts:
            messages.info(request, format_html_join(" ", "{}", ((text,) for text in parts)))

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        program = self.get_object(request, object_id)
        if program is None:
            raise Http404
        if not self.has_view_permission(request, program):
            raise PermissionDenied
        page, entries = history.page(program, request.GET.get("page"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("History of %(name)s") % {"name": program.name},
            "opts": self.opts,
            "original": program,
            "program": program,
            "page": page,
            "entries": entries,
        }
        return TemplateResponse(request, self.object_history_template, context)
