"""What a press of a button is answered with: a message and the way back, or the same as JSON for our scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from core.access import Role
from core.access.permissions import role_required
from core.exceptions import ConflictError

View = Callable[..., HttpResponse]
REFUSALS = (ValidationError, ConflictError)  # what a verb answers instead of doing it


def guarded(site: AdminSite, role: Role, view: View) -> Callable[..., HttpResponseBase]:
    return site.admin_view(role_required(role)(view))


def page_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[quote(row.pk)])


def wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept") == "application/json"


def answer(request: HttpRequest, row: Model, level: int, text: str, **more: Any) -> HttpResponse:
    """`more` goes to scripts alone."""
    if wants_json(request):
        return JsonResponse({"message": text, **more}, status=409 if level == messages.ERROR else 200)
    messages.add_message(request, level, text)
    return HttpResponseRedirect(next_page(request, row))


def next_page(request: HttpRequest, row: Model) -> str:
    """The page that asked, if it is one of ours, else that of `row`."""
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure()):
        return wanted
    return page_of(row)


def words_of(error: ValidationError | ConflictError) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
