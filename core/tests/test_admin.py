from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from core.access import Role, audit, authenticate_token, create_token, role_of, set_role
from core.access.roles import role_permissions
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
    """The fields that the user form submits."""
    return {"username": "bob", "role": "read", "is_active": "on", "email": ""} | changes


def test_every_page_shows_times_as_time_elements(logged_in: LogIn) -> None:
    """The script converts the elements to the local time zone; Django's `Nov. 26, 2026, 5:20 a.m.` has no zone."""
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
def test_a_new_token_is_shown_once_to_its_creator(logged_in: LogIn, role: Role) -> None:
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


def test_creating_and_revoking_a_token_is_audited(logged_in: LogIn) -> None:
    client = logged_in(Role.READ)
    client.post(f"{TOKENS}add/", {"name": "ci", "scope": "read"}, REMOTE_ADDR="192.0.2.7")
    client.post(f"{TOKENS}{ApiToken.objects.get().pk}/delete/", {"post": "yes"})
    rows = AuditEntry.objects.filter(action__startswith="token.").order_by("id")
    assert [(row.action, row.actor, row.address) for row in rows] == [
        ("token.create", "read-person", "192.0.2.7"),
        ("token.revoke", "read-person", "127.0.0.1"),
    ]
    assert not ApiToken.objects.exists()


def test_a_scope_above_the_users_role_is_not_offered_and_not_accepted(logged_in: LogIn) -> None:
    client = logged_in(Role.READ)
    assert 'value="admin"' not in page(client, f"{TOKENS}add/")
    client.post(f"{TOKENS}add/", {"name": "ci", "scope": "admin"})
    assert not ApiToken.objects.exists()


def test_only_administrators_create_tokens_for_others_and_within_the_owners_role(
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


def test_only_administrators_see_the_tokens_of_others(logged_in: LogIn, person: People) -> None:
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


def test_the_token_list_takes_a_constant_number_of_queries(
    logged_in: LogIn, person: People, django_assert_max_num_queries: Any
) -> None:
    client = logged_in(Role.ADMIN)
    for number in range(20):
        create_token(person(f"p{number}", Role.READ), "t", "read")
    with django_assert_max_num_queries(9):
        page(client, TOKENS)


# --- The audit trail ------------------------------------------------------------------------------------


def test_the_audit_trail_is_for_administrators_and_escapes_values(logged_in: LogIn) -> None:
    entry = audit("<script>alert(1)</script>", "x", "<b>bold</b>", data={"k": "<i>"})
    client = logged_in(Role.ADMIN)
    shown = page(client, TRAIL) + page(client, f"{TRAIL}{entry.pk}/change/")
    assert "&lt;script&gt;alert(1)" in shown
    assert "<script>alert(1)" not in shown
    assert "<b>bold" not in shown
    assert "<i>" not in shown
    assert logged_in(Role.OPERATE).get(TRAIL).status_code == 403


def test_the_audit_trail_cannot_be_changed(logged_in: LogIn) -> None:
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
def test_the_audit_trail_can_be_searched(logged_in: LogIn, query: str, seen: str) -> None:
    audit("alice", "login", "target-one", outcome="failed")
    audit("bob", "program.start", "target-two")
    shown = page(logged_in(Role.ADMIN), f"{TRAIL}?{query}")
    assert [name for name in ("one", "two") if f"target-{name}" in shown] == [seen]


# --- Users ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.READ, Role.OPERATE])
def test_users_and_groups_are_for_administrators(logged_in: LogIn, role: Role) -> None:
    client = logged_in(role)
    me = User.objects.get(username=f"{role}-person")
    for path in (USERS, GROUPS, f"{USERS}{me.pk}/change/", f"{USERS}{me.pk}/password/"):
        assert client.get(path).status_code == 403
    assert client.post(f"{USERS}{me.pk}/change/", account(role="admin")).status_code == 403


def test_a_new_user_gets_the_chosen_role(logged_in: LogIn) -> None:
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
def test_the_user_form_changes_the_role(logged_in: LogIn, person: People, chosen: str, role: Role | None) -> None:
    bob = person("bob", Role.OPERATE)
    response = logged_in(Role.ADMIN).post(f"{USERS}{bob.pk}/change/", account(role=chosen))
    assert response.status_code == 302
    assert role_of(User.objects.get(pk=bob.pk)) is role


@pytest.mark.parametrize("change", [{"role": "operate"}, {"role": ""}, {"is_active": ""}])
def test_administrators_cannot_lower_or_deactivate_themselves(logged_in: LogIn, change: dict[str, str]) -> None:
    client = logged_in(Role.ADMIN)
    me = User.objects.get(username="admin-person")
    sent = account(username=me.username, role="admin") | change
    response = client.post(f"{USERS}{me.pk}/change/", {k: v for k, v in sent.items() if k != "is_active" or v})
    assert response.status_code == 200
    assert "You cannot lower your own role" in response.content.decode()
    assert role_of(User.objects.get(pk=me.pk)) is Role.ADMIN


def test_administrators_cannot_delete_themselves(logged_in: LogIn, person: People) -> None:
    client, bob = logged_in(Role.ADMIN), person("bob")
    me = User.objects.get(username="admin-person")
    assert client.post(f"{USERS}{me.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(USERS, {"action": "delete_selected", "_selected_action": [me.pk, bob.pk], "post": "yes"})
    assert User.objects.count() == 2
    client.post(USERS, {"action": "delete_selected", "_selected_action": [bob.pk], "post": "yes"})
    assert list(User.objects.all()) == [me]
    assert AuditEntry.objects.filter(action="user.delete", target="bob", actor="admin-person").exists()


@pytest.mark.parametrize("ask", ["change", "delete", "delete_selected"])
def test_two_administrators_who_lower_each_other_leave_one_administrator(
    logged_in: LogIn, person: People, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    """The other administrator's change is committed after this request was allowed, before it wrote."""
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


def test_administrators_cannot_lower_themselves_through_their_group(person: People) -> None:
    group = Group.objects.create(name="Directory")
    group.permissions.set(role_permissions())
    person("carol", is_staff=True).groups.add(group)
    client = Client()
    client.force_login(User.objects.get(username="carol"))
    assert client.post(f"{GROUPS}{group.pk}/change/", {"name": "Directory", "permissions": []}).status_code == 403
    assert client.post(f"{GROUPS}{group.pk}/delete/", {"post": "yes"}).status_code == 403
    assert role_of(User.objects.get(username="carol")) is Role.ADMIN


def test_the_user_form_ignores_privileged_fields(logged_in: LogIn, person: People) -> None:
    bob = person("bob", Role.READ)
    sneaky = {"is_superuser": "on", "is_staff": "on", "groups": [1, 2, 3], "user_permissions": [1]}
    logged_in(Role.ADMIN).post(f"{USERS}{bob.pk}/change/", account() | sneaky)
    bob = User.objects.get(pk=bob.pk)
    assert (bob.is_superuser, role_of(bob)) == (False, Role.READ)


def test_the_user_list_takes_a_constant_number_of_queries(
    logged_in: LogIn, person: People, django_assert_max_num_queries: Any
) -> None:
    client = logged_in(Role.ADMIN)
    for number in range(20):
        person(f"p{number}", Role.OPERATE)
    with django_assert_max_num_queries(9):
        assert page(client, USERS).count("operate") >= 20


def test_role_groups_cannot_be_changed_but_other_groups_can(logged_in: LogIn) -> None:
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


def test_lists_and_forms_have_the_titles_of_the_product(logged_in: LogIn) -> None:
    client = logged_in(Role.ADMIN)
    assert client.get(TOKENS).context["title"] == "API tokens"
    assert client.get(f"{TOKENS}add/").context["title"] == "New API token"
    user = User.objects.get(username="admin-person")
    assert client.get(f"{USERS}{user.pk}/change/").context["title"] == "User"


def test_a_list_without_a_selection_says_so(logged_in: LogIn) -> None:
    assert "None of 1 selected" in page(logged_in(Role.ADMIN), USERS)
