"""Permissions of admin pages by role. Import it only where the admin is installed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from .audit import audit
from .login import client_address
from .roles import Principal, Role, has_role

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.contrib.admin.models import LogEntry

    # Unfold's own annotations contradict those of Django's stubs; what it adds needs none.
    UnfoldAdmin = ModelAdmin[Any]
else:
    from unfold.admin import ModelAdmin as UnfoldAdmin

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def role_required(role: Role) -> Callable[[View[P]], View[P]]:
    """Decorator for a view: redirects anonymous users to the login page, responds with 403 below `role`."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            if not has_role(request.user, role):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def principal_of(request: HttpRequest) -> Principal:
    """The logged-in user. Raises PermissionDenied for anonymous users and users without a role."""
    principal = Principal.from_user(request.user)
    if principal is None:
        raise PermissionDenied
    return principal


class RolePermissions:
    """Mixin for admin classes and inlines: decides Django's permissions by role.

    `@action(permissions=["operate"])` calls `has_operate_permission`.
    """

    view_role = Role.READ
    write_role = Role.ADMIN

    def has_module_permission(self, request: HttpRequest) -> bool:
        return has_role(request.user, self.view_role)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return has_role(request.user, self.view_role)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return has_role(request.user, self.write_role)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return has_role(request.user, self.write_role)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return has_role(request.user, self.write_role)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return has_role(request.user, Role.OPERATE)

    def has_administer_permission(self, request: HttpRequest) -> bool:
        return has_role(request.user, Role.ADMIN)


class RoleModelAdmin(RolePermissions, UnfoldAdmin):
    """Base of all admin classes: permissions by role, page titles, audit rows for each add, change and delete."""

    show_full_result_count = False

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        changelist.title = capfirst(str(self.opts.verbose_name_plural))  # instead of "Select … to change"
        # Without a filter everything is shown, but Unfold offers "Show all" when the full count is unknown.
        if changelist.full_result_count is None and not (changelist.query or changelist.has_active_filters):
            changelist.full_result_count = changelist.result_count
        return changelist

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        if "selection_note" in context:
            context["selection_note"] = _("None of %(count)d selected") % {"count": len(context["cl"].result_list)}
        return response

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        name = self.opts.verbose_name
        title = capfirst(str(name)) if object_id else _("New %(name)s") % {"name": name}
        return super().changeform_view(request, object_id, form_url, {"title": title, **(extra_context or {})})

    def lookup_allowed(self, lookup: str, value: Any, request: Any) -> bool:
        # Only columns with a filter: `?traceback__contains=` would reveal a hidden column letter by letter.
        column = lookup.partition("__")[0]
        if column not in map(_filter_parameter, self.get_list_filter(request)):
            with suppress(FieldDoesNotExist):
                self.opts.get_field(column)
                return False
        return bool(super().lookup_allowed(lookup, value, request))

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        self._audit(request, "add", obj, message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        self._audit(request, "change", obj, message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        for obj in queryset:
            self._audit(request, "delete", obj, [])
        return super().log_deletions(request, queryset)

    def _audit(self, request: HttpRequest, verb: str, obj: Any, message: Any) -> None:
        # `message` is Django's list of changes: names of fields without values.
        data = {"id": str(obj.pk), "message": message} if message else {"id": str(obj.pk)}
        audit(
            principal_of(request),
            f"{self.opts.model_name}.{verb}",
            str(obj),
            address=client_address(request),
            data=data,
        )


def _filter_parameter(entry: Any) -> str:
    return str(entry[0] if isinstance(entry, tuple) else getattr(entry, "parameter_name", entry))
