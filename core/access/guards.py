"""Roles at the doors of the admin. Imported by admin modules and views only: it needs the admin installed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseBase

from .audit import audit
from .login import client_address
from .principal import Principal
from .roles import Role, has_role

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
    """For a view: strangers go to the log-in page, people below `role` get 403."""

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
    """Whoever is logged in. Raises PermissionDenied for a stranger or a person without a role."""
    principal = Principal.of_user(request.user)
    if principal is None:
        raise PermissionDenied
    return principal


class RolePermissions:
    """Answers Django's questions about one model by role; for admin classes and inlines.

    `has_operate_permission` and `has_administer_permission` are what `@action(permissions=["operate"])` asks.
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
    """Unfold's ModelAdmin, guarded by roles; each addition, change and removal leaves an audit row."""

    show_full_result_count = False

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Without a filter all are shown: Unfold would offer "Show all" where the full number is not counted."""
        listed = super().get_changelist_instance(request)
        if listed.full_result_count is None and not (listed.query or listed.has_active_filters):
            listed.full_result_count = listed.result_count
        return listed

    def lookup_allowed(self, lookup: str, value: Any, request: Any) -> bool:
        """Of the columns those that a filter names: `?traceback__contains=` would tell what is not shown."""
        column = lookup.partition("__")[0]
        if column not in map(_named_by, self.get_list_filter(request)):
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
        """`message` is Django's list of what was done, with names of fields and no values."""
        data = {"id": str(obj.pk), "message": message} if message else {"id": str(obj.pk)}
        audit(
            principal_of(request),
            f"{self.opts.model_name}.{verb}",
            str(obj),
            address=client_address(request),
            data=data,
        )


def _named_by(entry: Any) -> str:
    """The column, or the name of its own, that an entry of `list_filter` is about."""
    return str(entry[0] if isinstance(entry, tuple) else getattr(entry, "parameter_name", entry))
