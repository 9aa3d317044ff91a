from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from core.access import Role, audit
from core.access.permissions import RolePermissions, principal_of, role_required
from core.admin.changelist import CappedPaginator
from core.models import AuditEntry

from .conftest import People


def request_of(user: Any) -> HttpRequest:
    request = RequestFactory().get("/page/?a=1")
    request.user = user
    return request


@role_required(Role.OPERATE)
def page(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(str(number))


def test_a_protected_view_redirects_anonymous_users_to_the_login() -> None:
    response: Any = page(request_of(AnonymousUser()), 7)
    assert response.status_code == 302
    assert response["Location"] == "/admin/login/?next=/page/%3Fa%3D1"


@pytest.mark.parametrize("role", [None, Role.READ])
def test_a_protected_view_denies_a_lower_role(person: People, role: Role | None) -> None:
    with pytest.raises(PermissionDenied):
        page(request_of(person(role=role)), 7)


@pytest.mark.parametrize("role", [Role.OPERATE, Role.ADMIN])
def test_a_protected_view_allows_the_role(person: People, role: Role) -> None:
    response: Any = page(request_of(person(role=role)), 7)
    assert response.content == b"7"


@pytest.mark.parametrize(
    ("role", "see", "operate", "write"),
    [
        (None, False, False, False),
        (Role.READ, True, False, False),
        (Role.OPERATE, True, True, False),
        (Role.ADMIN, True, True, True),
    ],
)
def test_admin_permissions_follow_the_role(
    person: People, role: Role | None, see: bool, operate: bool, write: bool
) -> None:
    pages, request = RolePermissions(), request_of(person(role=role))
    assert pages.has_module_permission(request) is pages.has_view_permission(request) is see
    assert pages.has_operate_permission(request) is operate
    writing = [pages.has_add_permission, pages.has_change_permission, pages.has_delete_permission]
    assert {may(request) for may in writing} == {pages.has_administer_permission(request)} == {write}


def test_an_admin_class_can_require_another_role(person: People) -> None:
    class Pages(RolePermissions):
        view_role = Role.OPERATE
        write_role = Role.OPERATE

    request = request_of(person(role=Role.READ))
    assert not Pages().has_view_permission(request)
    assert Pages().has_change_permission(request_of(person("bob", Role.OPERATE)))


def test_the_principal_of_a_request_names_the_user(person: People) -> None:
    assert principal_of(request_of(person(role=Role.READ))).actor == "alice"
    with pytest.raises(PermissionDenied):
        principal_of(request_of(person("bob")))


def test_the_paginator_stops_counting_at_its_limit(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        audit("alice", f"deed.{number}")
    monkeypatch.setattr("core.admin.changelist.MAX_COUNT", 5)
    assert CappedPaginator(AuditEntry.objects.all(), 2).num_pages == 3
    assert CappedPaginator(AuditEntry.objects.filter(action="deed.1"), 2).count == 1
    assert CappedPaginator([1, 2, 3], 2).count == 3
