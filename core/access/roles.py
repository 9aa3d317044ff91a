"""Three roles, each with the rights of the one below: read < operate < admin.

A role is the highest of three permissions (`core.read`, `core.operate`, `core.administer`) that a person holds,
directly or through a group. Three groups made at installation carry them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.db import transaction
from django.db.models import Case, OuterRef, Q, QuerySet, Value, When

CACHE = "_monitor_role"


class Role(IntEnum):
    """Ordered, so `role >= Role.OPERATE` asks whether it is enough."""

    READ = 1
    OPERATE = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()

    def __format__(self, specification: str) -> str:
        return format(str(self), specification)  # versions of Python differ on which of the two it is

    @classmethod
    def named(cls, name: str) -> Role:
        """`"operate"` → Role.OPERATE. Raises ValueError."""
        for role in cls:
            if str(role) == name:
                return role
        raise ValueError(f"{name!r} is no role; there are {', '.join(map(str, cls))}")


RIGHTS: dict[str, Role] = {"read": Role.READ, "operate": Role.OPERATE, "administer": Role.ADMIN}
GROUPS: dict[Role, str] = {Role.READ: "Viewers", Role.OPERATE: "Operators", Role.ADMIN: "Administrators"}


def rights(up_to: Role = Role.ADMIN) -> QuerySet[Permission]:
    """The permissions that make the roles as high as `up_to`."""
    codenames = [codename for codename, role in RIGHTS.items() if role <= up_to]
    return Permission.objects.filter(
        content_type__app_label="core", content_type__model="access", codename__in=codenames
    )


def granted_level(user: OuterRef | int) -> QuerySet[Permission, Any]:
    """The number of the highest role granted to `user` as a query of at most one row; usable as a subquery."""
    level = Case(*(When(codename=codename, then=Value(int(role))) for codename, role in RIGHTS.items()))
    held = rights().filter(Q(user=user) | Q(group__user=user))
    return held.annotate(level=level).order_by("-level").values_list("level", flat=True)[:1]


def role_of(user: User | AnonymousUser) -> Role | None:
    """The role of `user`; None for strangers and switched-off accounts. One query, kept on the object."""
    if not user.is_active:
        return None
    if user.is_superuser:
        return Role.ADMIN
    if not hasattr(user, CACHE):
        level = granted_level(user.pk).first()
        setattr(user, CACHE, Role(level) if level else None)
    role: Role | None = getattr(user, CACHE)
    return role


def has_role(user: User | AnonymousUser, role: Role) -> bool:
    held = role_of(user)
    return held is not None and held >= role


def set_role(user: User, role: Role | None) -> None:
    """Gives `user` exactly this role: every other grant of a right is taken away, also that of a superuser.

    With a role comes the entry to the admin site; without one it goes.
    """
    with transaction.atomic():
        user.user_permissions.remove(*rights())
        user.groups.remove(*Group.objects.filter(permissions__in=rights()).distinct())
        if role:
            user.groups.add(role_group(role))
        user.is_staff = role is not None
        user.is_superuser = user.is_superuser and role is Role.ADMIN
        user.save(update_fields=["is_staff", "is_superuser"])
    setattr(user, CACHE, role)


def role_group(role: Role) -> Group:
    """The group that carries `role`; made anew when somebody removed it."""
    group, created = Group.objects.get_or_create(name=GROUPS[role])
    if created:
        group.permissions.set(rights(up_to=role))
    return group
