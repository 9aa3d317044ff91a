"""Start, stop, restart, kill, scale: in bulk, from a row and from a program's page. By POST alone.

A GET of the same address shows a page that asks first, so a link can lead there and change nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from core.access import Role
from core.access.guards import RoleModelAdmin, principal_of, role_required
from core.exceptions import ConflictError
from programs import services
from programs.models import Program
from programs.states import ALLOWED_ACTIONS, Action, State

MOST_NAMED = 5
LABELS = {
    Action.START: gettext_lazy("Start"),
    Action.STOP: gettext_lazy("Stop"),
    Action.RESTART: gettext_lazy("Restart"),
    Action.KILL: gettext_lazy("Kill"),
}
ICONS = {Action.START: "play_arrow", Action.STOP: "stop", Action.RESTART: "restart_alt", Action.KILL: "dangerous"}
# A button posts the page's own form; killing, which cannot be undone, leads to a page that asks first.
BUTTON = (
    '<button type="submit" form="verb-form" formaction="{address}"{off} class="icon-button verb-{verb}" '
    'data-verb="{verb}" data-program="{pk}" title="{label}" aria-label="{label} {name}">{face}</button>'
)
LINK = (
    '<a href="{address}" aria-disabled="{off}" class="icon-button verb-{verb}" '
    'data-verb="{verb}" data-program="{pk}" title="{label}" aria-label="{label} {name}">{face}</a>'
)
ICON = '<span class="material-symbols-outlined" aria-hidden="true">{}</span>'


def buttons(program_id: int, name: str, state: State, *, labelled: bool = False) -> SafeString:
    """A button for each verb; those that make no sense in `state` are switched off."""
    made = [_button(verb, program_id, name, verb in ALLOWED_ACTIONS[state], labelled) for verb in Action]
    return format_html_join("", "{}", ((button,) for button in made))


def _button(verb: Action, program_id: int, name: str, is_possible: bool, labelled: bool) -> SafeString:
    icon = format_html(ICON, ICONS[verb])
    facts = {
        "verb": verb,
        "pk": program_id,
        "name": name,
        "label": LABELS[verb],
        "address": reverse(f"admin:programs_program_{verb}", args=[program_id]),
        "face": format_html("{}<span>{}</span>", icon, LABELS[verb]) if labelled else icon,
    }
    if verb is Action.KILL:
        return format_html(LINK, off="false" if is_possible else "true", **facts)
    return format_html(BUTTON, off="" if is_possible else mark_safe(" disabled"), **facts)


def actor_of(request: HttpRequest) -> str:
    """How records name the person who asks."""
    return principal_of(request).actor


def summary(verb: Action, outcome: dict[int, str | None]) -> tuple[int, str]:
    """Message level and text for what became of a bulk request: counts, then the reasons of refusals."""
    reasons = [reason for reason in outcome.values() if reason]
    done = len(outcome) - len(reasons)
    parts = []
    if done:
        text = ngettext("%(verb)s requested for %(n)d program.", "%(verb)s requested for %(n)d programs.", done)
        parts.append(text % {"verb": LABELS[verb], "n": done})
    if reasons:
        parts.append(ngettext("%(n)d refused:", "%(n)d refused:", len(reasons)) % {"n": len(reasons)})
        parts += list(Counter(reasons))[:MOST_NAMED] + (["…"] if len(reasons) > MOST_NAMED else [])
    level = messages.WARNING if reasons else messages.SUCCESS
    return (messages.ERROR if not done else level), " ".join(parts)


class VerbActions(RoleModelAdmin):
    """The verbs as bulk actions and as pages."""

    @admin.action(description=gettext_lazy("Start"), permissions=["operate"])
    def start_selected(self, request: HttpRequest, queryset: QuerySet[Program]) -> None:
        self._request_many(request, queryset, Action.START)

    @admin.action(description=gettext_lazy("Stop"), permissions=["operate"])
    def stop_selected(self, request: HttpRequest, queryset: QuerySet[Program]) -> None:
        self._request_many(request, queryset, Action.STOP)

    @admin.action(description=gettext_lazy("Restart"), permissions=["operate"])
    def restart_selected(self, request: HttpRequest, queryset: QuerySet[Program]) -> None:
        self._request_many(request, queryset, Action.RESTART)

    @admin.action(description=gettext_lazy("Kill at once"), permissions=["operate"])
    def kill_selected(self, request: HttpRequest, queryset: QuerySet[Program]) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            return self._ask(request, Action.KILL, list(queryset), action="kill_selected")
        self._request_many(request, queryset, Action.KILL)
        return None

    def _request_many(self, request: HttpRequest, queryset: QuerySet[Program], verb: Action) -> None:
        level, text = summary(verb, services.request_many(queryset, verb, actor=actor_of(request)))
        messages.add_message(request, level, text)

    def verb_urls(self) -> list[URLPattern]:
        def guarded(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponseBase]:
            return self.admin_site.admin_view(role_required(Role.OPERATE)(view))

        verbs = [
            path(f"<int:object_id>/{verb}/", guarded(self.verb_view), {"verb": verb}, f"programs_program_{verb}")
            for verb in Action
        ]
        return [*verbs, path("<int:object_id>/scale/", guarded(self.scale_view), name="programs_program_scale")]

    def verb_view(self, request: HttpRequest, object_id: int, verb: Action) -> HttpResponse:
        program = get_object_or_404(Program.objects.select_related("host"), pk=object_id)
        if request.method != "POST":
            return self._ask(request, verb, [program])
        try:
            services.request(program, verb, actor=actor_of(request))
        except ConflictError as error:
            return answer(request, program, messages.ERROR, str(error))
        text = _("%(verb)s of %(name)s requested.") % {"verb": LABELS[verb], "name": program.name}
        return answer(request, program, messages.SUCCESS, text)

    def scale_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        program = get_object_or_404(Program.objects.select_related("host"), pk=object_id)
        if request.method != "POST":
            return HttpResponseRedirect(page_of(program))
        try:
            services.scale(program, int(request.POST.get("instances", "")), actor=actor_of(request))
        except ValidationError as error:
            return answer(request, program, messages.ERROR, " ".join(error.messages))
        except ValueError:
            return answer(request, program, messages.ERROR, _("Instances must be a whole number."))
        text = _("%(name)s shall run %(n)d instances.") % {"name": program.name, "n": program.desired_instances}
        return answer(request, program, messages.SUCCESS, text)

    def _ask(
        self, request: HttpRequest, verb: Action, programs: list[Program], action: str = ""
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": LABELS[verb],
            "verb": verb,
            "programs": programs,
            "action": action,
            "next": next_page(request, programs[0]) if len(programs) == 1 else "",
        }
        return TemplateResponse(request, "admin/programs/program/confirm_verb.html", context)


def page_of(program: Program) -> str:
    return reverse("admin:programs_program_change", args=[program.pk])


def next_page(request: HttpRequest, program: Program) -> str:
    """Where to go afterwards: the page that asked, if it is one of ours, else the program's own."""
    for wanted in (request.POST.get("next", ""), request.headers.get("Referer", "")):
        if url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure()):
            return wanted
    return page_of(program)


def answer(request: HttpRequest, program: Program, level: int, text: str) -> HttpResponse:
    """A message and the way back; for our scripts, which stay on the page, the same as JSON."""
    if request.headers.get("Accept") == "application/json":
        return JsonResponse({"message": text}, status=409 if level == messages.ERROR else 200)
    messages.add_message(request, level, text)
    return HttpResponseRedirect(next_page(request, program))
