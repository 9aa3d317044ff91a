"""Start, stop, restart, kill and scale programs: in bulk, from a row and from the page of a program.

Only POST acts. A GET of the same URL shows a confirmation page.
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
from core.access.permissions import RoleModelAdmin, principal_of, role_required
from core.exceptions import ConflictError
from programs import services
from programs.models import Program
from programs.states import ALLOWED_ACTIONS, Action, State

MAX_REASONS = 5
LABELS = {
    Action.START: gettext_lazy("Start"),
    Action.STOP: gettext_lazy("Stop"),
    Action.RESTART: gettext_lazy("Restart"),
    Action.KILL: gettext_lazy("Kill"),
}
ICONS = {Action.START: "play_arrow", Action.STOP: "stop", Action.RESTART: "restart_alt", Action.KILL: "dangerous"}
# A button posts the form of the page; kill, which cannot be undone, is a link to a confirmation page.
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
    """A button for each action; those that are impossible in `state` are disabled."""
    rendered = [_button(verb, program_id, name, verb in ALLOWED_ACTIONS[state], labelled) for verb in Action]
    return format_html_join("", "{}", ((button,) for button in rendered))


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
    return principal_of(request).actor


def summary(verb: Action, outcome: dict[int, str | None]) -> tuple[int, str]:
    """Message level and text for a bulk request. `outcome` maps program ids to the reason of a refusal or None."""
    reasons = [reason for reason in outcome.values() if reason]
    done = len(outcome) - len(reasons)
    parts = []
    if done:
        text = ngettext("%(verb)s requested for %(n)d program.", "%(verb)s requested for %(n)d programs.", done)
        parts.append(text % {"verb": LABELS[verb], "n": done})
    if reasons:
        parts.append(ngettext("%(n)d refused:", "%(n)d refused:", len(reasons)) % {"n": len(reasons)})
        parts += list(Counter(reasons))[:MAX_REASONS] + (["…"] if len(reasons) > MAX_REASONS else [])
    level = messages.WARNING if reasons else messages.SUCCESS
    return (messages.ERROR if not done else level), " ".join(parts)


class ProgramActions(RoleModelAdmin):
    """The actions as bulk actions and as pages."""

    @admin.action(description=gettext_lazy("Start"), permissions=["operate"])
    def start_selected(self, request: HttpRequest, queryset: QuerySet[Program]) -> None:
        self._request_many(request, queryset, Action.START)

    @admin.action(description=gettext_lazy("Stop"), permissions=["operate"])
    def stop_selected(self, request: HttpRequest, queryset: QuerySet[Program]) -> None:
        self._request_many(request, queryset, Action.STOP)

    @admin.action(description=gettext_lazy("Restart"), permissions=["operate"])
    def restart_selected(self, request: HttpRequest, queryset: QuerySet[Program]) -> None:
        self._request_many(request, queryset, Action.RESTART)

    @admin.action(description=gettext_lazy("Kill"), permissions=["operate"])
    def kill_selected(self, request: HttpRequest, queryset: QuerySet[Program]) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            return self._confirm(request, Action.KILL, list(queryset), action="kill_selected")
        self._request_many(request, queryset, Action.KILL)
        return None

    def _request_many(self, request: HttpRequest, queryset: QuerySet[Program], verb: Action) -> None:
        level, text = summary(verb, services.request_many(queryset, verb, actor=actor_of(request)))
        messages.add_message(request, level, text)

    def action_urls(self) -> list[URLPattern]:
        def guard(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponseBase]:
            return self.admin_site.admin_view(role_required(Role.OPERATE)(view))

        verbs = [
            path(f"<int:object_id>/{verb}/", guard(self.action_view), {"verb": verb}, f"programs_program_{verb}")
            for verb in Action
        ]
        return [*verbs, path("<int:object_id>/scale/", guard(self.scale_view), name="programs_program_scale")]

    def action_view(self, request: HttpRequest, object_id: int, verb: Action) -> HttpResponse:
        program = get_object_or_404(Program.objects.select_related("host"), pk=object_id)
        if request.method != "POST":
            return self._confirm(request, verb, [program])
        try:
            services.request(program, verb, actor=actor_of(request))
        except ConflictError as error:
            return respond(request, program, messages.ERROR, str(error))
        text = _("%(verb)s of %(name)s requested.") % {"verb": LABELS[verb], "name": program.name}
        return respond(request, program, messages.SUCCESS, text)

    def scale_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        program = get_object_or_404(Program.objects.select_related("host"), pk=object_id)
        if request.method != "POST":
            return HttpResponseRedirect(program_url(program))
        try:
            services.scale(program, int(request.POST.get("instances", "")), actor=actor_of(request))
        except ValidationError as error:
            return respond(request, program, messages.ERROR, " ".join(error.messages))
        except ValueError:
            return respond(request, program, messages.ERROR, _("Enter a whole number of instances."))
        text = _("Scaling %(name)s to %(n)d instances.") % {"name": program.name, "n": program.desired_instances}
        return respond(request, program, messages.SUCCESS, text)

    def _confirm(
        self, request: HttpRequest, verb: Action, programs: list[Program], action: str = ""
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": LABELS[verb],
            "verb": verb,
            "programs": programs,
            "action": action,
            "next": redirect_target(request, programs[0]) if len(programs) == 1 else "",
        }
        return TemplateResponse(request, "admin/programs/program/confirm_verb.html", context)


def program_url(program: Program) -> str:
    return reverse("admin:programs_program_change", args=[program.pk])


def redirect_target(request: HttpRequest, program: Program) -> str:
    """The page the request came from if it is one of ours, else the page of the program."""
    for target in (request.POST.get("next", ""), request.headers.get("Referer", "")):
        if url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
            return target
    return program_url(program)


def respond(request: HttpRequest, program: Program, level: int, text: str) -> HttpResponse:
    """A message and a redirect; JSON for scripts, which stay on the page."""
    if request.headers.get("Accept") == "application/json":
        return JsonResponse({"message": text}, status=409 if level == messages.ERROR else 200)
    messages.add_message(request, level, text)
    return HttpResponseRedirect(redirect_target(request, program))
