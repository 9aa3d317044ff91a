"""The admin pages of errors: who sees and who resolves them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from core.access import Role
from core.errors import store
from core.errors.buffer import ErrorBuffer
from core.models import ErrorGroup
from core.tests.errors.factories import catch, fail, occurrence_of, write

LogIn = Callable[[Role], Client]


@pytest.fixture
def group(db: None) -> ErrorGroup:
    error_buffer = ErrorBuffer()
    error_buffer.open("web")
    error_buffer.disable_writer_thread()
    error_buffer.record(catch(lambda: fail("<b>x</b>")), "GET x")
    write(error_buffer)
    return ErrorGroup.objects.get()


LIST = "/admin/core/errorgroup/"


def test_everyone_sees_the_list_and_administrators_the_traceback(logged_in: LogIn, group: ErrorGroup) -> None:
    for role, sees in ((Role.READ, False), (Role.OPERATE, False), (Role.ADMIN, True)):
        client = logged_in(role)
        assert "cannot use &lt;b&gt;x" in client.get(LIST).content.decode()
        page = client.get(f"{LIST}{group.pk}/change/").content.decode()
        assert ("in fail" in page, "GET x" in page) == (sees, True)


def test_hidden_columns_cannot_be_filtered(logged_in: LogIn, group: ErrorGroup) -> None:
    """`?traceback__startswith=` would reveal the traceback letter by letter."""
    client = logged_in(Role.READ)
    for query in ("traceback__contains=fail", "traceback__contains=nothing", "id__range=1"):
        assert client.get(f"{LIST}?{query}").status_code == 400
    for query in ("process=web", "state=open", "q=cannot"):
        assert f"/{group.pk}/" in client.get(f"{LIST}?{query}").content.decode()


def test_only_operators_resolve_errors_and_only_by_post(logged_in: LogIn, group: ErrorGroup) -> None:
    address = f"{LIST}{group.pk}/resolve/"
    assert logged_in(Role.READ).post(address).status_code == 403
    client = logged_in(Role.OPERATE)
    assert client.get(address).status_code == 405
    assert ErrorGroup.objects.filter(resolved_at=None).exists()
    assert client.post(address).status_code == 302
    assert ErrorGroup.objects.get().resolved_by == "operate-person"
    assert "resolved" in client.get(f"{LIST}?state=resolved").content.decode()


def test_several_errors_are_resolved_at_once(logged_in: LogIn, group: ErrorGroup) -> None:
    logged_in(Role.OPERATE).post(LIST, {"action": "resolve_selected", "_selected_action": [group.pk]})
    assert not ErrorGroup.objects.filter(resolved_at=None).exists()


def test_errors_cannot_be_added_changed_or_deleted(logged_in: LogIn, group: ErrorGroup) -> None:
    client = logged_in(Role.ADMIN)
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{group.pk}/change/", {"kind": "x"}).status_code == 403
    assert client.post(f"{LIST}{group.pk}/delete/", {"post": "yes"}).status_code == 403


def test_the_error_list_takes_a_constant_number_of_queries(
    logged_in: LogIn, django_assert_max_num_queries: Any
) -> None:
    client = logged_in(Role.READ)
    for number in range(30):
        store.add(occurrence_of(type(f"Made{number}Error", (Exception,), {})()))
    with django_assert_max_num_queries(9):
        assert client.get(LIST).content.decode().count("Made") >= 30
