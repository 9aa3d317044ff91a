"""The pages that adopt a running process: choose one, name it, and the monitor supervises it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.access import Role
from core.access.permissions import role_required
from core.exceptions import ConflictError
from programs import adoption, services
from programs.adoption import Candidate
from programs.definition.syntax import split_command
from programs.formatting import bytes_text
from programs.models import Program

from .actions import actor_of, program_url

INTERPRETERS = ("python", "node", "java", "ruby", "perl", "bash", "sh")


class AdoptForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=100, widget=UnfoldAdminTextInputWidget({"autofocus": True})
    )
    restart_policy = forms.ChoiceField(
        label=gettext_lazy("Restart"),
        choices=Program.RestartPolicy.choices,
        initial=Program.RestartPolicy.ON_FAILURE,
        widget=UnfoldAdminSelectWidget(),
        help_text=gettext_lazy("What happens when the process exits by itself."),
    )


def urls(site: AdminSite) -> list[URLPattern]:
    """For administrators only, because adopting creates a definition with an arbitrary command."""

    def guard(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponseBase]:
        return site.admin_view(role_required(Role.ADMIN)(partial(view, site=site)))

    return [
        path("adopt/", guard(candidates_view), name="programs_program_adopt"),
        path("adopt/<int:pid>/", guard(adopt_view), name="programs_program_adopt_one"),
    ]


def candidates_view(request: HttpRequest, site: AdminSite) -> HttpResponse:
    wanted = request.GET.get("q", "").strip().lower()
    found = [one for one in adoption.candidates() if wanted in f"{one.pid} {one.user} {one.command}".lower()]
    rows = [(one, bytes_text(one.memory_bytes)) for one in found]
    context = {"title": _("Adopt a process"), "candidates": rows, "wanted": wanted}
    return _page(request, site, "candidates.html", context)


def adopt_view(request: HttpRequest, site: AdminSite, pid: int) -> HttpResponse:
    try:
        candidate = adoption.candidate(pid)
    except ValidationError as error:
        raise Http404(" ".join(error.messages)) from error
    form = AdoptForm(request.POST or None, initial={"name": suggested_name(candidate)})
    if form.is_valid() and (program := _adopt(form, pid, request)):
        messages.success(request, _("%(name)s is now supervised.") % {"name": program.name})
        return HttpResponseRedirect(program_url(program))
    title = _("Adopt process %(pid)s") % {"pid": pid}
    return _page(request, site, "adopt.html", {"title": title, "candidate": candidate, "form": form})


def _adopt(form: AdoptForm, pid: int, request: HttpRequest) -> Program | None:
    """None if it failed; the form then has the errors."""
    actor, policy = actor_of(request), form.cleaned_data["restart_policy"]
    try:
        with transaction.atomic():
            program = adoption.adopt(pid, name=form.cleaned_data["name"], actor=actor)
            if program.restart_policy != policy:
                services.save_definition({"restart_policy": policy}, program=program, actor=actor)
            return program
    except ValidationError as error:
        form.add_error("name" if "name" in getattr(error, "error_dict", {}) else None, error.messages)
    except ConflictError as error:
        form.add_error(None, str(error))
    return None


def suggested_name(candidate: Candidate) -> str:
    try:
        parts = split_command(candidate.command)
    except ValidationError:
        parts = candidate.command.split() or [str(candidate.pid)]
    names = [Path(part).name for part in parts if not part.startswith("-")]
    if len(names) > 1 and names[0].startswith(INTERPRETERS):
        return Path(names[1]).stem
    return names[0] if names else str(candidate.pid)


def _page(request: HttpRequest, site: AdminSite, template: str, context: dict[str, Any]) -> TemplateResponse:
    shown = {**site.each_context(request), **context}
    return TemplateResponse(request, f"admin/programs/adoption/{template}", shown)
