from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from core.access import Role, audit, authenticate_token, create_token, role_of, set_role
from core.access.roles import rights
from core.models import ApiToken, AuditEntry, Sequence

from .conftest import People

TOKENS = "/admin/core/apitoken/"
TRAIL = "/admin/core/auditentry/"
USERS = "/admin/auth/user/"
GROUPS = "/admin/auth/group/"
TOKEN = re.compile(r"pm_[0-9a-z]{8}_[A-Za-z0-9_-]{43}")

pytestmark = pytest.mark.django_db
LogIn = Callable[[Role], Client]


def page(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, response
    return response.content.decode()


def account(**changes: Any) -> dict[str, Any]:
    """What the form of an account sends."""
    return {"username": "bob", "role": "read", "is_active": "on", "email": ""} | changes


def test_times_are_those_of_the_readers_clock_on_every_page(logged_in: LogIn) -> None:
    """The script makes them of the elements; words like `Nov. 26, 2026, 5:20 a.m.` name no zone."""
    client = logged_in(Role.ADMIN)
    client.post(
        f"{TOKENS}add/", {"name": "ci", "scope": "read", "expires_at_0": "2099-01-02", "expires_at_1": "03:04"}
    )
    token, person = ApiToken.objects.get(), User.objects.get(username="admin-person")
    pages = [TOKENS, f"{TOKENS}{token.pk}/change/", TRAIL, USERS, f"{USERS}{person.pk}/change/"]
    for text in (page(client, path) for path in pages):
        assert "monitor/local_times.js" in text
        assert '<time datetime="20' in text
        assert not re.search(r"\d [ap]\.m\.", text)
    assert "2099-01-02 03:04:00</time>" in page(client, TOKENS)
    assert "In UTC." in page(client, f"{TOKENS}add/")


# --- Tokens ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", Role)
def test_a_token_is_shown_once_and_only_to_whoever_made_it(logged_in: LogIn, role: Role) -> None:
    client = logged_in(role)
    response = client.post(f"{TOKENS}add/", {"name": "ci", "scope": str(role)})
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    [clear] = set(TOKEN.findall(response.content.decode()))
    principal = authenticate_token(clear)
    assert principal is not None
    assert (principal.role, principal.user.username) == (role, f"{role}-person")
    pk = ApiToken.objects.get().pk
    later = page(client, TOKENS) + page(client, f"{TOKENS}{pk}/change/") + page(client, f"{TOKENS}{pk}/history/")
    assert clear[12:] not in later + str(response.cookies) + str(dict(client.session))


def test_making_and_revoking_leave_their_rows(logged_in: LogIn) -> None:
    client = logged_in(Role.READ)
    client.post(f"{TOKENS}add/", {"name": "ci", "scope": "read"}, REMOTE_ADDR="192.0.2.7")
    client.post(f"{TOKENS}{ApiToken.objects.get().pk}/delete/", {"post": "yes"})
    rows = AuditEntry.objects.filter(action__startswith="token.").order_by("id")
    assert [(row.action, row.actor, row.address) for row in rows] == [
        ("token.create", "read-person", "192.0.2.7"),
        ("token.revoke", "read-person", "127.0.0.1"),
    ]
    assert not ApiToken.objects.exists()


def test_a_scope_above_ones_role_is_not_offered_nor_taken(logged_in: LogIn) -> None:
    client = logged_in(Role.READ)
    assert 'value="admin"' not in page(client, f"{TOKENS}add/")
    client.post(f"{TOKENS}add/", {"name": "ci", "scope": "admin"})
    assert not ApiToken.objects.exists()


def test_a_token_for_another_is_made_by_administrators_only_and_within_the_others_role(
    logged_in: LogIn, person: People
) -> None:
    bob = person("bob", Role.READ)
    logged_in(Role.OPERATE).post(f"{TOKENS}add/", {"name": "x", "scope": "read", "user": bob.pk})
    assert ApiToken.objects.get().user.username == "operate-person"
    admin = logged_in(Role.ADMIN)
    refusal = admin.post(f"{TOKENS}add/", {"name": "y", "scope": "operate", "user": bob.pk})
    assert "has the role read" in refusal.content.decode()
    admin.post(f"{TOKENS}add/", {"name": "z", "scope": "read", "user": bob.pk})
    assert ApiToken.objects.get(name="z").user == bob


def test_others_tokens_are_for_administrators(logged_in: LogIn, person: People) -> None:
    token, _ = create_token(person("bob", Role.READ), "bobs-token", "read")
    operator, admin = logged_in(Role.OPERATE), logged_in(Role.ADMIN)
    assert "bobs-token" not in page(operator, TOKENS)
    assert operator.get(f"{TOKENS}{token.pk}/change/").status_code == 302
    operator.post(f"{TOKENS}{token.pk}/delete/", {"post": "yes"})
    operator.post(TOKENS, {"action": "delete_selected", "_selected_action": token.pk, "post": "yes"})
    assert ApiToken.objects.exists()
    assert "bobs-token" in page(admin, TOKENS)
    admin.post(TOKENS, {"action": "delete_selected", "_selected_action": token.pk, "post": "yes"})
    assert not ApiToken.objects.exists()


def test_a_token_cannot_be_changed(logged_in: LogIn) -> None:
    client = logged_in(Role.ADMIN)
    client.post(f"{TOKENS}add/", {"name": "ci", "scope": "read"})
    token = ApiToken.objects.get()
    assert client.post(f"{TOKENS}{token.pk}/change/", {"name": "ci", "scope": "admin"}).status_code == 403
    token.refresh_from_db()
    assert token.scope == "read"


def test_a_list_of_tokens_takes_the_same_queries_however_long(
    logged_in: LogIn, person: People, django_assert_max_num_queries: Any
) -> None:
    client = logged_in(Role.ADMIN)
    for number in range(20):
        create_token(person(f"p{number}", Role.READ), "t", "read")
    with django_assert_max_num_queries(9):
        page(client, TOKENS)


# --- The audit trail ------------------------------------------------------------------------------------


def test_the_trail_is_for_administrators_and_escapes_what_it_shows(logged_in: LogIn) -> None:
    entry = audit("<script>alert(1)</script>", "x", "<b>bold</b>", data={"k": "<i>"})
    client = logged_in(Role.ADMIN)
    shown = page(client, TRAIL) + page(client, f"{TRAIL}{entry.pk}/change/")
    assert "&lt;script&gt;alert(1)" in shown
    assert "<script>alert(1)" not in shown
    assert "<b>bold" not in shown
    assert "<i>" not in shown
    assert logged_in(Role.OPERATE).get(TRAIL).status_code == 403


def test_the_trail_cannot_be_touched(logged_in: LogIn) -> None:
    entry, client = audit("alice", "x"), logged_in(Role.ADMIN)
    assert client.get(f"{TRAIL}add/").status_code == 403
    assert client.post(f"{TRAIL}{entry.pk}/change/", {"actor": "mallory"}).status_code == 403
    assert client.post(f"{TRAIL}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(TRAIL, {"action": "delete_selected", "_selected_action": entry.pk, "post": "yes"})
    assert AuditEntry.objects.filter(pk=entry.pk, actor="alice").exists()


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("outcome=failed", "one"),
        ("action__icontains=start", "two"),
        ("actor__icontains=bob", "two"),
        ("q=one", "one"),
    ],
)
def test_the_trail_can_be_searched(logged_in: LogIn, query: str, seen: str) -> None:
    audit("alice", "login", "target-one", outcome="failed")
    audit("bob", "program.start", "target-two")
    shown = page(logged_in(Role.ADMIN), f"{TRAIL}?{query}")
    assert [name for name in ("one", "two") if f"target-{name}" in shown] == [seen]


# --- People ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.READ, Role.OPERATE])
def test_people_and_groups_are_for_administrators(logged_in: LogIn, role: Role) -> None:
    client = logged_in(role)
    me = User.objects.get(username=f"{role}-person")
    for path in (USERS, GROUPS, f"{USERS}{me.pk}/change/", f"{USERS}{me.pk}/password/"):
        assert client.get(path).status_code == 403
    assert client.post(f"{USERS}{me.pk}/change/", account(role="admin")).status_code == 403


def test_a_new_person_gets_the_chosen_role(logged_in: LogIn) -> None:
    secret = {
        "usable_password": "true",
        "password1": "correct horse battery",
        "password2": "correct horse battery",
    }
    logged_in(Role.ADMIN).post(f"{USERS}add/", {"username": "bob", "role": "operate"} | secret)
    bob = User.objects.get(username="bob")
    assert (role_of(bob), bob.is_staff, bob.is_superuser) == (Role.OPERATE, True, False)
    row = AuditEntry.objects.get(action="user.role")
    assert (row.actor, row.target, row.data["from"], row.data["to"]) == ("admin-person", "bob", "", "operate")
    assert "correct horse" not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize(("chosen", "role"), [("admin", Role.ADMIN), ("read", Role.READ), ("", None)])
def test_a_role_is_changed_by_one_choice(logged_in: LogIn, person: People, chosen: str, role: Role | None) -> None:
    bob = person("bob", Role.OPERATE)
    response = logged_in(Role.ADMIN).post(f"{USERS}{bob.pk}/change/", account(role=chosen))
    assert response.status_code == 302
    assert role_of(User.objects.get(pk=bob.pk)) is role


@pytest.mark.parametrize("change", [{"role": "operate"}, {"role": ""}, {"is_active": ""}])
def test_nobody_locks_themselves_out(logged_in: LogIn, change: dict[str, str]) -> None:
    client = logged_in(Role.ADMIN)
    me = User.objects.get(username="admin-person")
    sent = account(username=me.username, role="admin") | change
    response = client.post(f"{USERS}{me.pk}/change/", {k: v for k, v in sent.items() if k != "is_active" or v})
    assert response.status_code == 200
    assert "You cannot take away your own role" in response.content.decode()
    assert role_of(User.objects.get(pk=me.pk)) is Role.ADMIN


def test_nobody_removes_themselves(logged_in: LogIn, person: People) -> None:
    client, bob = logged_in(Role.ADMIN), person("bob")
    me = User.objects.get(username="admin-person")
    assert client.post(f"{USERS}{me.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(USERS, {"action": "delete_selected", "_selected_action": [me.pk, bob.pk], "post": "yes"})
    assert User.objects.count() == 2
    client.post(USERS, {"action": "delete_selected", "_selected_action": [bob.pk], "post": "yes"})
    assert list(User.objects.all()) == [me]
    assert AuditEntry.objects.filter(action="user.delete", target="bob", actor="admin-person").exists()


@pytest.mark.parametrize("ask", ["change", "delete", "delete_selected"])
def test_of_two_who_take_each_others_role_one_keeps_it(
    logged_in: LogIn, person: People, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    """The other was quicker: after this one was let in, and before anything of it was written."""
    client, bob = logged_in(Role.ADMIN), person("bob", Role.ADMIN)
    me, advance = User.objects.get(username="admin-person"), Sequence.advance

    def meanwhile(*args: Any) -> int:
        set_role(User.objects.get(pk=me.pk), Role.READ)
        return advance(*args)

    monkeypatch.setattr(Sequence, "advance", meanwhile)
    selected = {"action": "delete_selected", "_selected_action": [bob.pk], "post": "yes"}
    path, sent = {
        "change": (f"{USERS}{bob.pk}/change/", account(role="read")),
        "delete": (f"{USERS}{bob.pk}/delete/", {"post": "yes"}),
        "delete_selected": (USERS, selected),
    }[ask]
    assert client.post(path, sent).status_code == 403
    assert role_of(User.objects.get(pk=bob.pk)) is Role.ADMIN


def test_nobody_takes_their_own_role_from_their_group(person: People) -> None:
    group = Group.objects.create(name="Directory")
    group.permissions.set(rights())
    person("carol", is_staff=True).groups.add(group)
    client = Client()
    client.force_login(User.objects.get(username="carol"))
    assert client.post(f"{GROUPS}{group.pk}/change/", {"name": "Directory", "permissions": []}).status_code == 403
    assert client.post(f"{GROUPS}{group.pk}/delete/", {"post": "yes"}).status_code == 403
    assert role_of(User.objects.get(username="carol")) is Role.ADMIN


def test_privileged_fields_are_not_taken_from_the_form(logged_in: LogIn, person: People) -> None:
    bob = person("bob", Role.READ)
    sneaky = {"is_superuser": "on", "is_staff": "on", "groups": [1, 2, 3], "user_permissions": [1]}
    logged_in(Role.ADMIN).post(f"{USERS}{bob.pk}/change/", account() | sneaky)
    bob = User.objects.get(pk=bob.pk)
    assert (bob.is_superuser, role_of(bob)) == (False, Role.READ)


def test_the_list_of_people_shows_roles_in_the_same_queries_however_long(
    logged_in: LogIn, person: People, django_assert_max_num_queries: Any
) -> None:
    client = logged_in(Role.ADMIN)
    for number in range(20):
        person(f"p{number}", Role.OPERATE)
    with django_assert_max_num_queries(9):
        assert page(client, USERS).count("operate") >= 20


def test_the_groups_of_the_roles_are_fixed_and_others_are_not(logged_in: LogIn) -> None:
    client = logged_in(Role.ADMIN)
    fixed = Group.objects.get(name="Administrators")
    assert client.post(f"{GROUPS}{fixed.pk}/change/", {"name": "X"}).status_code == 403
    assert client.post(f"{GROUPS}{fixed.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(GROUPS, {"action": "delete_selected", "_selected_action": [fixed.pk], "post": "yes"})
    assert Group.objects.filter(name="Administrators").exists()
    client.post(f"{GROUPS}add/", {"name": "Directory"})
    made = Group.objects.get(name="Directory")
    client.post(f"{GROUPS}{made.pk}/delete/", {"post": "yes"})
    assert not Group.objects.filter(name="Directory").exists()


@pytest.mark.parametrize("path", [f"{USERS}add/", f"{GROUPS}add/", GROUPS, f"{TOKENS}add/", "/admin/"])
def test_every_page_opens(logged_in: LogIn, path: str) -> None:
    assert page(logged_in(Role.ADMIN), path)
