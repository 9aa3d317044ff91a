"""Filters of the lists. Choices come from the code or one small query, never from scanning a big table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter

from programs.models import Program
from programs.states import State

from . import live


class StateFilter(DropdownFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(state.value, state.value) for state in State]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Program]) -> QuerySet[Program]:
        wanted = self.value()
        return live.in_state(queryset, State(wanted)) if wanted in set(State) else queryset


class TagFilter(DropdownFilter):
    title = _("tag")
    parameter_name = "tag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        lists = Program.objects.exclude(tags=[]).values_list("tags", flat=True)
        return [(tag, tag) for tag in sorted({tag for tags in lists for tag in tags})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Program]) -> QuerySet[Program]:
        if not (wanted := self.value()):
            return queryset
        # Compared here: SQLite cannot look into a JSON list, and there are hundreds of programs, not millions.
        lists = Program.objects.exclude(tags=[]).values_list("pk", "tags")
        return queryset.filter(pk__in=[pk for pk, tags in lists if wanted in tags])


class EventTypeFilter(DropdownFilter):
    title = _("type")
    parameter_name = "type"

    TYPES = (
        *(f"program.{verb}" for verb in ("created", "updated", "removed", "scaled", "input")),
        *(f"program.{verb}" for verb in ("started", "running", "restarted", "adopted")),
        *(f"program.{verb}" for verb in ("stopping", "stopped", "exited", "crashed", "backoff", "fatal")),
        *("program.healthy", "program.unhealthy", "alert.firing", "alert.resolved"),
        *("plugin.succeeded", "plugin.failed", "webhook.disabled", "agent.started", "agent.lost"),
    )

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(type_, type_) for type_ in self.TYPES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(type=self.value()) if self.value() else queryset


class ProgramFilter(DropdownFilter):
    """By the program's present name; records of removed programs are found by search."""

    title = _("program")
    parameter_name = "program"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(str(pk), name) for pk, name in Program.objects.order_by("name").values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value() or ""
        return queryset.filter(program=int(wanted)) if wanted.isdecimal() else queryset
