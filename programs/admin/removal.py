"""Deletes programs through `services.remove`: the agent stops the processes before the rows are deleted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from core.access.permissions import RoleModelAdmin
from core.exceptions import ConflictError
from programs import services
from programs.models import Dependency, Program

from .actions import actor_of, program_url


class RemovalPages(RoleModelAdmin):
    """Django's confirmation pages for the service."""

    def get_deleted_objects(
        self, objs: Sequence[Program] | QuerySet[Program], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """For the confirmation page. Programs that others depend on are protected."""
        doomed = {program.pk for program in objs}
        needed = Dependency.objects.filter(requires__in=doomed, program__removed_at=None)
        needed = needed.exclude(program__in=doomed).select_related("program", "requires")
        protected = [
            _("%(program)s depends on %(requires)s") % {"program": row.program, "requires": row.requires}
            for row in needed
        ]
        names = [
            _("%(name)s (is stopped first; events and incidents are kept)") % {"name": program.name}
            for program in objs
        ]
        return names, {_("programs"): len(names)}, set(), protected

    def delete_model(self, request: HttpRequest, obj: Program) -> None:
        services.remove(obj, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Program]) -> None:
        for program in dependents_first(queryset):  # the service refuses to remove a program with dependents
            services.remove(program, actor=actor_of(request))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except ConflictError as error:  # another program came to depend on it while the page was open
            messages.error(request, str(error))
            return HttpResponseRedirect(program_url(Program(pk=object_id)))


def dependents_first(programs: Iterable[Program]) -> list[Program]:
    """Sorted so that each can be removed: dependents before the programs they depend on."""
    left = {program.pk: program for program in programs}
    pairs = set(Dependency.objects.filter(program__in=left, requires__in=left).values_list("program", "requires"))
    ordered: list[Program] = []
    while left:
        needed = {requires for program, requires in pairs if program in left}
        free = [pk for pk in left if pk not in needed]
        ordered += [left.pop(pk) for pk in free]
    return ordered
