"""API tokens: every user creates and revokes their own, administrators also those of others."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.forms import ChoiceField, ModelForm
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from core.access.login import client_address
from core.access.permissions import RoleModelAdmin, principal_of
from core.access.roles import Role, has_role, role_of
from core.access.tokens import TokenError, audit_token, check_token, generate_key
from core.admin.changelist import ROLE_COLOURS, badge
from core.models import ApiToken
from core.timeformat import time_element


class TokenForm(ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """`requester` is set on the class that `ApiTokenAdmin.get_form` makes for one request."""

    requester: User

    class Meta:
        model = ApiToken
        fields = ("user", "name", "scope", "expires_at")
        help_texts: ClassVar = {"expires_at": _("In UTC. Leave empty for a token that never expires.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if owner := self.fields.get("user"):
            owner.required = False
            owner.help_text = _("The token never has more permissions than this user. Leave empty for yourself.")
        if isinstance(scope := self.fields.get("scope"), ChoiceField):  # missing on the page of an existing token
            held = role_of(self.requester) or Role.READ
            scope.choices = [
                (name, label) for name, label in ApiToken.Scope.choices if Role.from_name(name) <= held
            ]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        cleaned["user"] = cleaned.get("user") or self.requester
        if not self.errors:
            try:
                scope = Role.from_name(cleaned["scope"])
                check_token(cleaned["user"], cleaned["name"], scope, cleaned["expires_at"])
            except TokenError as error:
                self.add_error(None, str(error))
        return cleaned


@admin.register(ApiToken)
class ApiTokenAdmin(RoleModelAdmin):
    write_role = Role.READ
    form = TokenForm
    list_display = ("name", "user", "shown_prefix", "scope_badge", "created", "last_used", "expires")
    list_filter = ("scope",)
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__username")
    readonly_fields = ("shown_prefix", "created", "last_used", "expires")
    autocomplete_fields = ("user",)

    class Media:
        js = (Script("monitor/local_times.js", type="module"),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        tokens = super().get_queryset(request)
        return tokens if has_role(request.user, Role.ADMIN) else tokens.filter(user=request.user)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        owner = ["user"] if obj or has_role(request.user, Role.ADMIN) else []
        rest = ["expires", "shown_prefix", "created", "last_used"] if obj else ["expires_at"]
        return [*owner, "name", "scope", *rest]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.requester = request.user
        return form

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # revoke the token and create another one

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        hidden = {"show_save_and_continue": False, "show_save_and_add_another": False}
        return super().add_view(request, form_url, hidden | (extra_context or {}))

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        obj.user = form.cleaned_data["user"]
        obj.plaintext = generate_key(obj)
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        # The token is only in this response: a message would store it in a cookie or the session.
        context = {
            **self.admin_site.each_context(request),
            "title": _("Your new token"),
            "opts": self.opts,
            "token": obj,
        }
        response = TemplateResponse(request, "admin/core/apitoken/created.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def _audit(self, request: HttpRequest, verb: str, obj: ApiToken, message: Any) -> None:
        action = {"add": "create", "delete": "revoke"}[verb]
        audit_token(obj, action, principal_of(request), client_address(request))

    @admin.display(description=_("prefix"), ordering="prefix")
    def shown_prefix(self, token: ApiToken) -> str:
        return f"{token.prefix}…"

    @admin.display(description=_("created"), ordering="created_at")
    def created(self, token: ApiToken) -> SafeString:
        return time_element(token.created_at)

    @admin.display(description=_("last used"), ordering="last_used_at")
    def last_used(self, token: ApiToken) -> SafeString | str:
        return time_element(token.last_used_at) if token.last_used_at else str(_("never"))

    @admin.display(description=_("expires"), ordering="expires_at")
    def expires(self, token: ApiToken) -> SafeString | str:
        return time_element(token.expires_at) if token.expires_at else str(_("never"))

    @badge(_("scope"), ordering="scope", colours=ROLE_COLOURS)
    def scope_badge(self, token: ApiToken) -> tuple[str, str]:
        return token.scope, token.get_scope_display()
