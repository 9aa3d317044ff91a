"""Filters of the lists. Choices come from the code or from one query on a small table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter

from programs.events import TYPES
from programs.models import Host, Program
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
        wanted = self.value()
        if not wanted:
            return queryset
        return queryset.filter(pk__in=[pk for pk, tags in tags_by_program() if wanted in tags])


def tags_by_program() -> list[tuple[int, list[str]]]:
    # Filtered in Python: Django cannot query JSON lists on SQLite.
    return list(Program.objects.exclude(tags=[]).values_list("pk", "tags"))


def search(programs: QuerySet[Program], text: str) -> QuerySet[Program]:
    """Programs that contain every word of `text` in the name, description, command or a tag."""
    tags = [(pk, " ".join(tags).casefold()) for pk, tags in tags_by_program()] if text else []
    for word in text.split():
        by_tag = Q(pk__in=[pk for pk, tagged in tags if word.casefold() in tagged])
        by_text = Q(name__icontains=word) | Q(description__icontains=word) | Q(command__icontains=word)
        programs = programs.filter(by_text | by_tag)
    return programs


class HostFilter(DropdownFilter):
    """Programs without a host belong to the default host."""

    title = _("host")
    parameter_name = "host"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(name, name) for name in Host.objects.order_by("name").values_list("name", flat=True)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Program]) -> QuerySet[Program]:
        if not (wanted := self.value()):
            return queryset
        host = Host.objects.filter(name=wanted).first()
        if host is None:
            return queryset.none()
        return queryset.filter(Q(host=host) | Q(host=None)) if host.is_default else queryset.filter(host=host)


class EventTypeFilter(DropdownFilter):
    title = _("type")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(type_, type_) for type_ in TYPES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(type=self.value()) if self.value() else queryset


class ProgramFilter(DropdownFilter):
    """Lists existing programs; events of removed ones can be found by search."""

    title = _("program")
    parameter_name = "program"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(str(pk), name) for pk, name in Program.objects.order_by("name").values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value() or ""
        return queryset.filter(program=int(wanted)) if re.fullmatch("[0-9]{1,18}", wanted) else queryset


class SinceFilter(DropdownFilter):
    title = _("time")
    parameter_name = "since"
    column = "timestamp"

    SPANS: ClassVar = {
        "hour": (_("last hour"), timedelta(hours=1)),
        "day": (_("last 24 hours"), timedelta(days=1)),
        "week": (_("last 7 days"), timedelta(days=7)),
        "month": (_("last 30 days"), timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(key, title) for key, (title, _span) in self.SPANS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if (wanted := self.value()) not in self.SPANS:
            return queryset
        _title, span = self.SPANS[wanted]
        return queryset.filter(**{f"{self.column}__gte": timezone.now() - span})
