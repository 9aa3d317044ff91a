"""Responses to actions: a message and a redirect for browsers, JSON for our scripts."""

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
REFUSALS = (ValidationError, ConflictError)  # raised by services that refuse an action


def role_view(site: AdminSite, role: Role, view: View) -> Callable[..., HttpResponseBase]:
    return site.admin_view(role_required(role)(view))


def change_url(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[quote(row.pk)])


def wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept") == "application/json"


def respond(request: HttpRequest, row: Model, level: int, text: str, **more: Any) -> HttpResponse:
    if wants_json(request):
        return JsonResponse({"message": text, **more}, status=409 if level == messages.ERROR else 200)
    messages.add_message(request, level, text)
    return HttpResponseRedirect(next_page(request, row))


def next_page(request: HttpRequest, row: Model) -> str:
    # Only pages of this site: an open redirect would help phishing.
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure()):
        return wanted
    return change_url(row)


def error_text(error: ValidationError | ConflictError) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
