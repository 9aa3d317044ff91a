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
def test_a_role_holds_the_rights_of_those_below(person: People, role: Role | None, allowed: set[Role]) -> None:
    user = User.objects.get(pk=person("bob", role).pk)
    assert {wanted for wanted in Role if has_role(user, wanted)} == allowed
    assert user.is_staff is (role is not None)


def test_the_groups_of_a_fresh_installation_carry_the_rights(db: None) -> None:
    held = {g.name: set(g.permissions.values_list("codename", flat=True)) for g in Group.objects.all()}
    assert held == {
        "Viewers": {"read"},
        "Operators": {"read", "operate"},
        "Administrators": {"read", "operate", "administer"},
    }


def test_a_stranger_has_no_role() -> None:
    assert role_of(AnonymousUser()) is None


def test_a_superuser_is_an_administrator_without_any_grant(person: People) -> None:
    assert role_of(person(is_superuser=True)) is Role.ADMIN


def test_an_account_that_is_switched_off_has_no_role(person: People) -> None:
    user = person(role=Role.ADMIN)
    user.is_active = False
    assert role_of(user) is None
    assert Principal.of_user(user) is None


def test_a_right_granted_directly_counts(person: People) -> None:
    user = person()
    user.user_permissions.add(Permission.objects.get(content_type__app_label="core", codename="operate"))
    assert role_of(User.objects.get(pk=user.pk)) is Role.OPERATE


def test_a_permission_of_the_same_name_elsewhere_does_not_count(person: People) -> None:
    user = person()
    other = Permission.objects.get(codename="view_user").content_type
    user.user_permissions.add(Permission.objects.create(content_type=other, codename="administer", name="x"))
    assert role_of(user) is None


def test_a_lower_role_takes_every_higher_grant_away(person: People) -> None:
    user = person(role=Role.ADMIN, is_superuser=True)
    custom = Group.objects.create(name="Directory admins")
    administer = Permission.objects.get(content_type__app_label="core", codename="administer")
    custom.permissions.add(administer)
    user.groups.add(custom)
    user.user_permissions.add(administer)
    set_role(user, Role.READ)
    assert role_of(User.objects.get(pk=user.pk)) is Role.READ
    assert role_of(user) is Role.READ


def test_groups_that_carry_no_right_stay(person: People) -> None:
    user = person(role=Role.READ)
    user.groups.add(Group.objects.create(name="Chess club"))
    set_role(user, None)
    assert list(user.groups.values_list("name", flat=True)) == ["Chess club"]


def test_a_removed_group_is_made_anew(person: People) -> None:
    Group.objects.filter(name="Operators").delete()
    assert role_of(User.objects.get(pk=person(role=Role.OPERATE).pk)) is Role.OPERATE


def test_the_role_costs_one_query_and_then_none(person: People, django_assert_num_queries: Any) -> None:
    user = User.objects.get(pk=person(role=Role.OPERATE).pk)
    with django_assert_num_queries(1):
        assert [has_role(user, role) for role in Role] == [True, True, False]


@pytest.mark.parametrize("name", ["root", "READ", "", "1"])
def test_a_name_that_is_no_role_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no role"):
        Role.named(name)


def test_a_role_reads_as_its_name_and_compares_as_a_number() -> None:
    assert (str(Role.READ), f"{Role.OPERATE:<8}|", Role.named("admin")) == ("read", "operate |", Role.ADMIN)
    assert Role.READ < Role.OPERATE < Role.ADMIN
