"""Login form, users and groups. A user's permissions are one choice: the role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.forms.widgets import Script
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.forms import AdminPasswordChangeForm, AuthenticationForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminRadioSelectWidget

from core.access.audit import audit
from core.access.login import client_address, locked_until
from core.access.permissions import RoleModelAdmin, principal_of
from core.access.roles import ROLE_GROUPS, Role, has_role, role_level_query, role_of, role_permissions, set_role
from core.admin.changelist import ROLE_COLOURS, badge
from core.models import Sequence
from core.timeformat import time_element


class LoginForm(AuthenticationForm):
    """Shows how long a lockout lasts, also for unknown user names, so that it does not reveal which exist."""

    def get_invalid_login_error(self) -> ValidationError:
        until = locked_until(self.cleaned_data.get("username", ""), client_address(self.request))
        if until is None:
            return super().get_invalid_login_error()
        minutes = int((until - timezone.now()).total_seconds() // 60) + 1
        text = ngettext(
            "Too many failed attempts. Try again in %(minutes)d minute.",
            "Too many failed attempts. Try again in %(minutes)d minutes.",
            minutes,
        )
        return ValidationError(text % {"minutes": minutes}, code="throttled")


NO_ROLE = ""
ROLE_LABELS = {
    Role.READ: _("Viewer: sees everything, changes nothing"),
    Role.OPERATE: _("Operator: also starts, stops and restarts programs"),
    Role.ADMIN: _("Administrator: also defines programs, and so can run any command"),
}
ROLE_CHOICES = [
    (NO_ROLE, _("None: cannot log in")),
    *((str(role), text) for role, text in ROLE_LABELS.items()),
]


def role_field() -> forms.ChoiceField:
    return forms.ChoiceField(
        choices=ROLE_CHOICES, required=False, label=_("Role"), widget=UnfoldAdminRadioSelectWidget
    )


class AccountForm(UserChangeForm):
    """`requester` is set on the class that `AccountAdmin.get_form` makes for one request."""

    requester: User
    role = role_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        held = role_of(self.instance)
        self.fields["role"].initial = str(held) if held else NO_ROLE

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        lowered = cleaned.get("role") != str(Role.ADMIN) or not cleaned.get("is_active")
        if self.instance == self.requester and lowered:
            raise ValidationError(
                _("You cannot lower your own role or deactivate your own account. Ask another administrator.")
            )
        return cleaned


class NewAccountForm(UserCreationForm):
    role = role_field()


@contextmanager
def administrator_required(request: HttpRequest) -> Iterator[None]:
    """A transaction that raises PermissionDenied unless the user is an administrator before and after it.

    So one administrator always remains.
    """
    with transaction.atomic():
        Sequence.advance()  # serialises two administrators who lower each other at the same time
        _check_administrator(request)
        yield
        _check_administrator(request)


def _check_administrator(request: HttpRequest) -> None:
    now = User.objects.filter(username=request.user.get_username()).first()
    if now is None or not has_role(now, Role.ADMIN):
        raise PermissionDenied


class AdministratorGuardAdmin(RoleModelAdmin):
    """Makes every save and delete fail that would take the administrator role from the user who does it."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        with administrator_required(request):
            super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        with administrator_required(request):
            super().save_related(request, form, formsets, change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with administrator_required(request):
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with administrator_required(request):
            super().delete_queryset(request, queryset)


if TYPE_CHECKING:
    BaseUserAdmin = DjangoUserAdmin[User]
else:
    BaseUserAdmin = DjangoUserAdmin  # not subscriptable at run time

admin.site.login_form = LoginForm
admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class AccountAdmin(BaseUserAdmin, AdministratorGuardAdmin):
    view_role = Role.ADMIN
    form = AccountForm
    add_form = NewAccountForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "role_badge", "is_active", "last_login_time")
    list_filter = ("is_active",)
    fieldsets = (
        (None, {"fields": ("username", "password", "role", "is_active")}),
        (_("Contact"), {"fields": ("first_name", "last_name", "email")}),
        (_("Dates"), {"fields": ("last_login_time", "joined_time")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "role", "usable_password", "password1", "password2")}),)
    filter_horizontal = ()
    readonly_fields = ("last_login_time", "joined_time")

    class Media:
        js = (Script("monitor/local_times.js", type="module"),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).annotate(level=Subquery(role_level_query(OuterRef("pk"))))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.requester = request.user
        return form

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj != request.user and super().has_delete_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # Your own account counts as protected, so a selection that includes it deletes nothing.
        listed, counts, missing, protected = super().get_deleted_objects(objs, request)
        return listed, counts, missing, [*protected, *(str(user) for user in objs if user == request.user)]

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        with administrator_required(request):
            super().save_model(request, obj, form, change)
            self._set_role(request, obj, form.cleaned_data.get("role", NO_ROLE), change)

    def _set_role(self, request: HttpRequest, obj: User, chosen: str, change: bool) -> None:
        before = role_of(User.objects.get(pk=obj.pk))
        role = Role.from_name(chosen) if chosen else None
        if role != before or not change:
            set_role(obj, role)
            data = {"from": str(before or ""), "to": chosen}
            audit(principal_of(request), "user.role", str(obj), address=client_address(request), data=data)

    @admin.display(description=_("last login"), ordering="last_login")
    def last_login_time(self, user: User) -> SafeString | str:
        return time_element(user.last_login) if user.last_login else str(_("never"))

    @admin.display(description=_("date joined"), ordering="date_joined")
    def joined_time(self, user: User) -> SafeString:
        return time_element(user.date_joined)

    @badge(_("role"), colours=ROLE_COLOURS)
    def role_badge(self, user: Any) -> str:
        level = Role.ADMIN if user.is_superuser else user.level
        return str(Role(level)) if level else str(_("none"))


class GroupForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    permissions = forms.ModelMultipleChoiceField(
        queryset=role_permissions(),
        required=False,
        label=_("rights"),
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )

    class Meta:
        model = Group
        fields = ("name", "permissions")


@admin.register(Group)
class GroupAdmin(AdministratorGuardAdmin):
    """The groups of the three roles cannot be changed; you can add others, for example for a directory service."""

    view_role = Role.ADMIN
    form = GroupForm
    list_display = ("name", "members")
    search_fields = ("name",)
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        groups: QuerySet[Group] = super().get_queryset(request).annotate(member_count=Count("user"))
        return groups

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_editable(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_editable(obj) and super().has_delete_permission(request, obj)

    def _is_editable(self, group: Group | None) -> bool:
        return group is None or group.name not in ROLE_GROUPS.values()

    @admin.display(description=_("members"), ordering="member_count")
    def members(self, group: Any) -> int:
        count: int = group.member_count
        return count
