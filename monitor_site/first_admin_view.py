"""The page of the set-up link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import login
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from core.access.login import client_address

from . import first_admin

if TYPE_CHECKING:
    CreationForm = UserCreationForm[User]
else:
    CreationForm = UserCreationForm  # generic for the type checker only


class FirstAdminForm(CreationForm):
    """Uses the widgets of the login page."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].widget = UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "username", "autofocus": True, "maxlength": 150}
        )
        for name in ("password1", "password2"):
            self.fields[name].widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})


@sensitive_post_parameters("password1", "password2")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def first_admin_page(request: HttpRequest, token: str) -> HttpResponse:
    if not first_admin.is_link_valid(token, timezone.now()):
        return _invalid_link_page(request)
    form = FirstAdminForm(request.POST or None)
    if not form.is_valid():
        return _page(
            request, "setup/first_admin.html", {"form": form, "title": _("Create the first administrator")}
        )
    try:
        user = first_admin.create_from_link(
            token,
            form.cleaned_data["username"],
            form.cleaned_data["password1"],
            now=timezone.now(),
            address=client_address(request),
        )
    except first_admin.LinkUsedError:
        return _invalid_link_page(request)
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    return redirect("admin:index")


def _invalid_link_page(request: HttpRequest) -> HttpResponse:
    return _page(request, "setup/dead_link.html", {"title": _("This link is not valid")}, status=404)


def _page(request: HttpRequest, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    return render(request, template, {**admin.site.each_context(request), **context}, status=status)
