from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User

from core.access import Principal, Role, has_role, role_of, set_role

from .conftest import People

MATRIX = [
    (None, set()),
    (Role.READ, {Role.READ}),
    (Role.OPERATE, {Role.READ, Role.OPERATE}),
    (Role.ADMIN, {Role.READ, Role.OPERATE, Role.ADMIN}),
]


@pytest.mark.parametrize(("role", "allowed"), MATRIX)
def test_a_role_includes_the_lower_roles(person: People, role: Role | None, allowed: set[Role]) -> None:
    user = User.objects.get(pk=person("bob", role).pk)
    assert {wanted for wanted in Role if has_role(user, wanted)} == allowed
    assert user.is_staff is (role is not None)


def test_a_new_installation_has_one_group_per_role(db: None) -> None:
    held = {g.name: set(g.permissions.values_list("codename", flat=True)) for g in Group.objects.all()}
    assert held == {
        "Viewers": {"read"},
        "Operators": {"read", "operate"},
        "Administrators": {"read", "operate", "administer"},
    }


def test_an_anonymous_user_has_no_role() -> None:
    assert role_of(AnonymousUser()) is None


def test_a_superuser_is_an_administrator_without_permissions(person: People) -> None:
    assert role_of(person(is_superuser=True)) is Role.ADMIN


def test_an_inactive_user_has_no_role(person: People) -> None:
    user = person(role=Role.ADMIN)
    user.is_active = False
    assert role_of(user) is None
    assert Principal.from_user(user) is None


def test_a_permission_granted_directly_counts(person: People) -> None:
    user = person()
    user.user_permissions.add(Permission.objects.get(content_type__app_label="core", codename="operate"))
    assert role_of(User.objects.get(pk=user.pk)) is Role.OPERATE


def test_a_permission_with_the_same_name_in_another_app_does_not_count(person: People) -> None:
    user = person()
    other = Permission.objects.get(codename="view_user").content_type
    user.user_permissions.add(Permission.objects.create(content_type=other, codename="administer", name="x"))
    assert role_of(user) is None


def test_setting_a_lower_role_removes_all_higher_grants(person: People) -> None:
    user = person(role=Role.ADMIN, is_superuser=True)
    custom = Group.objects.create(name="Directory admins")
    administer = Permission.objects.get(content_type__app_label="core", codename="administer")
    custom.permissions.add(administer)
    user.groups.add(custom)
    user.user_permissions.add(administer)
    set_role(user, Role.READ)
    assert role_of(User.objects.get(pk=user.pk)) is Role.READ
    assert role_of(user) is Role.READ


def test_groups_without_role_permissions_are_kept(person: People) -> None:
    user = person(role=Role.READ)
    user.groups.add(Group.objects.create(name="Chess club"))
    set_role(user, None)
    assert list(user.groups.values_list("name", flat=True)) == ["Chess club"]


def test_a_deleted_role_group_is_created_again(person: People) -> None:
    Group.objects.filter(name="Operators").delete()
    assert role_of(User.objects.get(pk=person(role=Role.OPERATE).pk)) is Role.OPERATE


def test_the_role_is_cached_after_one_query(person: People, django_assert_num_queries: Any) -> None:
    user = User.objects.get(pk=person(role=Role.OPERATE).pk)
    with django_assert_num_queries(1):
        assert [has_role(user, role) for role in Role] == [True, True, False]


@pytest.mark.parametrize("name", ["root", "READ", "", "1"])
def test_an_unknown_role_name_raises_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="is not a role"):
        Role.from_name(name)


def test_roles_print_as_names_and_compare_as_numbers() -> None:
    assert (str(Role.READ), f"{Role.OPERATE:<8}|", Role.from_name("admin")) == ("read", "operate |", Role.ADMIN)
    assert Role.READ < Role.OPERATE < Role.ADMIN
