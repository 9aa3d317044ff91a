"""People and groups. What a person may do is one choice: their role."""

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
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminRadioSelectWidget

from core.access.audit import audit
from core.access.guards import RoleModelAdmin, principal_of
from core.access.login import client_address
from core.access.roles import GROUPS, Role, granted_level, has_role, rights, role_of, set_role
from core.badges import ROLE_COLOURS, badge
from core.models import Sequence
from core.timeformat import time_element

NO_ROLE = ""
ROLE_LABELS = {
    Role.READ: _("Viewer: sees everything, changes nothing"),
    Role.OPERATE: _("Operator: also starts, stops and restarts programs"),
    Role.ADMIN: _("Administrator: also defines programs, which means running any command"),
}
ROLE_CHOICES = [
    (NO_ROLE, _("None: cannot log in here")),
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
        """Nobody takes the key out of their own hand: so one administrator always remains."""
        cleaned: dict[str, Any] = super().clean() or {}
        lowered = cleaned.get("role") != str(Role.ADMIN) or not cleaned.get("is_active")
        if self.instance == self.requester and lowered:
            raise ValidationError(_("You cannot take away your own role or switch off your own account."))
        return cleaned


class NewAccountForm(UserCreationForm):
    role = role_field()


@contextmanager
def still_administrator(request: HttpRequest) -> Iterator[None]:
    """For a change of rights: all of it, or PermissionDenied when who asks is no administrator before or after.

    The counter lets two who lower each other come one after the other.
    """
    with transaction.atomic():
        Sequence.advance()
        _require_administrator(request)
        yield
        _require_administrator(request)


def _require_administrator(request: HttpRequest) -> None:
    now = User.objects.filter(username=request.user.get_username()).first()
    if now is None or not has_role(now, Role.ADMIN):
        raise PermissionDenied


class RightsAdmin(RoleModelAdmin):
    """Nobody gives up their own role, and whoever has lost it takes it from nobody: one administrator remains."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        with still_administrator(request):
            super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        with still_administrator(request):
            super().save_related(request, form, formsets, change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with still_administrator(request):
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with still_administrator(request):
            super().delete_queryset(request, queryset)


if TYPE_CHECKING:
    BaseUserAdmin = DjangoUserAdmin[User]
else:
    BaseUserAdmin = DjangoUserAdmin  # not subscriptable at run time

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class AccountAdmin(BaseUserAdmin, RightsAdmin):
    view_role = Role.ADMIN
    form = AccountForm
    add_form = NewAccountForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "held_role", "is_active", "logged_in")
    list_filter = ("is_active",)
    fieldsets = (
        (None, {"fields": ("username", "password", "role", "is_active")}),
        (_("Personal info"), {"fields": ("first_name", "last_name", "email")}),
        (_("Important dates"), {"fields": ("logged_in", "joined")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "role", "usable_password", "password1", "password2")}),)
    filter_horizontal = ()
    readonly_fields = ("logged_in", "joined")

    class Media:
        js = (Script("monitor/local_times.js", type="module"),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).annotate(level=Subquery(granted_level(OuterRef("pk"))))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.requester = request.user
        return form

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj != request.user and super().has_delete_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """One's own account among several chosen ones stops them all."""
        listed, counts, missing, protected = super().get_deleted_objects(objs, request)
        return listed, counts, missing, [*protected, *(str(user) for user in objs if user == request.user)]

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        with still_administrator(request):
            super().save_model(request, obj, form, change)
            self._set_role(request, obj, form.cleaned_data.get("role", NO_ROLE), change)

    def _set_role(self, request: HttpRequest, obj: User, chosen: str, change: bool) -> None:
        before = role_of(User.objects.get(pk=obj.pk))
        role = Role.named(chosen) if chosen else None
        if role != before or not change:
            set_role(obj, role)
            data = {"from": str(before or ""), "to": chosen}
            audit(principal_of(request), "user.role", str(obj), address=client_address(request), data=data)

    @admin.display(description=_("last login"), ordering="last_login")
    def logged_in(self, user: User) -> SafeString | str:
        return time_element(user.last_login) if user.last_login else str(_("never"))

    @admin.display(description=_("date joined"), ordering="date_joined")
    def joined(self, user: User) -> SafeString:
        return time_element(user.date_joined)

    @badge(_("role"), colours=ROLE_COLOURS)
    def held_role(self, user: Any) -> str:
        level = Role.ADMIN if user.is_superuser else user.level
        return str(Role(level)) if level else str(_("none"))


class GroupForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    permissions = forms.ModelMultipleChoiceField(
        queryset=rights(), required=False, label=_("rights"), widget=UnfoldAdminCheckboxSelectMultipleWidget
    )

    class Meta:
        model = Group
        fields = ("name", "permissions")


@admin.register(Group)
class GroupAdmin(RightsAdmin):
    """The three groups of the roles are fixed; others can be made, for instance for a directory service."""

    view_role = Role.ADMIN
    form = GroupForm
    list_display = ("name", "members")
    search_fields = ("name",)
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        groups: QuerySet[Group] = super().get_queryset(request).annotate(member_count=Count("user"))
        return groups

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_free(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_free(obj) and super().has_delete_permission(request, obj)

    def _is_free(self, group: Group | None) -> bool:
        return group is None or group.name not in GROUPS.values()

    @admin.display(description=_("members"), ordering="member_count")
    def members(self, group: Any) -> int:
        count: int = group.member_count
        return count
