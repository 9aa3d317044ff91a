"""Roles and principals. Three roles, each includes the ones below it: read < operate < admin.

A user's role is the highest of three permissions (`core.read`, `core.operate`, `core.administer`) that the user
holds, directly or through a group. A migration creates one group per role.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.db import transaction
from django.db.models import Case, OuterRef, Q, QuerySet, Value, When

ACTOR_LENGTH = 150  # of the columns that hold an actor
ROLE_ATTRIBUTE = "_monitor_role"  # caches the role on the user object


class Role(IntEnum):
    """Ordered, so that `role >= Role.OPERATE` checks whether a role suffices."""

    READ = 1
    OPERATE = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()

    def __format__(self, specification: str) -> str:
        return format(str(self), specification)  # Python versions format an IntEnum differently

    @classmethod
    def from_name(cls, name: str) -> Role:
        """`"operate"` → Role.OPERATE. Raises ValueError."""
        for role in cls:
            if str(role) == name:
                return role
        raise ValueError(f"{name!r} is not a role; use one of {', '.join(map(str, cls))}")


PERMISSION_ROLES: dict[str, Role] = {"read": Role.READ, "operate": Role.OPERATE, "administer": Role.ADMIN}
ROLE_GROUPS: dict[Role, str] = {Role.READ: "Viewers", Role.OPERATE: "Operators", Role.ADMIN: "Administrators"}


@dataclass(frozen=True)
class Principal:
    """Who makes a request: a user, or one of the user's API tokens, with the role that applies."""

    user: User
    role: Role
    actor: str  # the name in records: "alice" or "alice (token backup-script)"
    token_prefix: str = ""  # "pm_1a2b3c4d", or "" for a session

    @classmethod
    def from_user(cls, user: User | AnonymousUser) -> Principal | None:
        """None for a user without a role."""
        role = role_of(user)
        if role is None or isinstance(user, AnonymousUser):
            return None
        return cls(user=user, role=role, actor=user.get_username()[:ACTOR_LENGTH])

    def has_role(self, role: Role) -> bool:
        return self.role >= role


def token_actor(username: str, token_name: str) -> str:
    # Shortens the user name when both do not fit, so that the token's name stays readable.
    suffix = f" (token {token_name})"
    return username[: ACTOR_LENGTH - len(suffix)] + suffix


def role_permissions(up_to: Role = Role.ADMIN) -> QuerySet[Permission]:
    codenames = [codename for codename, role in PERMISSION_ROLES.items() if role <= up_to]
    return Permission.objects.filter(
        content_type__app_label="core", content_type__model="access", codename__in=codenames
    )


def role_level_query(user: OuterRef | int) -> QuerySet[Permission, Any]:
    """The number of the user's highest role, in at most one row; also usable as a subquery."""
    level = Case(*(When(codename=codename, then=Value(int(role))) for codename, role in PERMISSION_ROLES.items()))
    held = role_permissions().filter(Q(user=user) | Q(group__user=user))
    return held.annotate(level=level).order_by("-level").values_list("level", flat=True)[:1]


def role_of(user: User | AnonymousUser) -> Role | None:
    """None for anonymous and inactive users. Takes one query the first time for each user object."""
    if not user.is_active:
        return None
    if user.is_superuser:
        return Role.ADMIN
    if not hasattr(user, ROLE_ATTRIBUTE):
        level = role_level_query(user.pk).first()
        setattr(user, ROLE_ATTRIBUTE, Role(level) if level else None)
    role: Role | None = getattr(user, ROLE_ATTRIBUTE)
    return role


def has_role(user: User | AnonymousUser, role: Role) -> bool:
    held = role_of(user)
    return held is not None and held >= role


def set_role(user: User, role: Role | None) -> None:
    """Gives `user` exactly this role and removes every other grant, including superuser status above it.

    A user with a role can log in to the admin, a user without one cannot.
    """
    with transaction.atomic():
        user.user_permissions.remove(*role_permissions())
        user.groups.remove(*Group.objects.filter(permissions__in=role_permissions()).distinct())
        if role:
            user.groups.add(group_for_role(role))
        user.is_staff = role is not None
        user.is_superuser = user.is_superuser and role is Role.ADMIN
        user.save(update_fields=["is_staff", "is_superuser"])
    setattr(user, ROLE_ATTRIBUTE, role)


def group_for_role(role: Role) -> Group:
    group, created = Group.objects.get_or_create(name=ROLE_GROUPS[role])
    if created:  # somebody had deleted it
        group.permissions.set(role_permissions(up_to=role))
    return group
