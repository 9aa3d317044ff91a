from __future__ import annotations

import json
import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.access import Role, TokenError, authenticate_token, create_token, revoke_token, set_role
from core.access.roles import ACTOR_LENGTH, token_actor
from core.models import ApiToken, AuditEntry

from .conftest import People


def test_a_token_has_the_documented_format_and_only_its_hash_is_stored(person: People) -> None:
    token, clear = create_token(person(role=Role.READ), "backup-script", "read")
    assert re.fullmatch(r"pm_[0-9a-z]{8}_[A-Za-z0-9_-]{43}", clear)
    token.refresh_from_db()
    stored = " ".join(str(value) for value in ApiToken.objects.filter(pk=token.pk).values_list().get())
    assert clear.startswith(token.prefix)
    assert clear not in stored
    assert clear[12:] not in stored


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("scope", Role)
def test_a_token_never_exceeds_its_owner(person: People, role: Role, scope: Role) -> None:
    owner = person(role=Role.ADMIN)
    _, clear = create_token(owner, "t", scope)
    set_role(owner, role)
    principal = authenticate_token(clear)
    assert principal is not None
    assert principal.role == min(role, scope)
    assert [principal.has_role(wanted) for wanted in Role] == [wanted <= min(role, scope) for wanted in Role]


def test_the_actor_names_the_user_and_the_token(person: People) -> None:
    token, clear = create_token(person(role=Role.READ), "backup-script", Role.READ)
    principal = authenticate_token(clear)
    assert principal is not None
    assert (principal.actor, principal.token_prefix) == ("alice (token backup-script)", token.prefix)


def test_a_long_user_name_is_cut_so_that_the_token_name_fits() -> None:
    actor = token_actor("x" * 150, "y" * 80)
    assert len(actor) == ACTOR_LENGTH
    assert actor.endswith(f"(token {'y' * 80})")


def test_a_token_works_for_a_superuser_without_groups(person: People) -> None:
    _, clear = create_token(person(is_superuser=True), "t", Role.ADMIN)
    principal = authenticate_token(clear)
    assert principal is not None
    assert principal.role is Role.ADMIN


def test_authenticating_a_token_takes_one_query(person: People, django_assert_num_queries: Any) -> None:
    _, clear = create_token(person(role=Role.OPERATE), "t", Role.OPERATE)
    authenticate_token(clear)
    with django_assert_num_queries(1):
        principal = authenticate_token(clear)
    assert principal is not None
    assert principal.user.username == "alice"


def test_last_used_is_updated_at_most_once_a_minute(person: People) -> None:
    token, clear = create_token(person(role=Role.READ), "t", Role.READ)
    earlier = timezone.now() - timedelta(seconds=50)
    ApiToken.objects.filter(pk=token.pk).update(last_used_at=earlier)
    authenticate_token(clear)
    token.refresh_from_db()
    assert token.last_used_at == earlier
    ApiToken.objects.filter(pk=token.pk).update(last_used_at=earlier - timedelta(seconds=20))
    authenticate_token(clear)
    token.refresh_from_db()
    assert token.last_used_at is not None
    assert token.last_used_at > earlier


@pytest.mark.parametrize("fields", [{"is_active": False}])
def test_the_token_of_an_inactive_user_is_rejected(person: People, fields: dict[str, Any]) -> None:
    owner = person(role=Role.ADMIN)
    _, clear = create_token(owner, "t", Role.READ)
    type(owner).objects.filter(pk=owner.pk).update(**fields)
    assert authenticate_token(clear) is None


def test_the_token_of_a_user_without_a_role_is_rejected(person: People) -> None:
    owner = person(role=Role.ADMIN)
    _, clear = create_token(owner, "t", Role.READ)
    set_role(owner, None)
    assert authenticate_token(clear) is None


def test_an_expired_token_is_rejected(person: People) -> None:
    token, clear = create_token(person(role=Role.READ), "t", "read", timezone.now() + timedelta(days=1))
    assert authenticate_token(clear)
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert authenticate_token(clear) is None


def test_a_revoked_token_is_rejected(person: People) -> None:
    token, clear = create_token(person(role=Role.READ), "t", "read")
    revoke_token(token, actor="alice")
    assert authenticate_token(clear) is None
    assert list(AuditEntry.objects.values_list("action", flat=True)) == ["token.revoke", "token.create"]


@pytest.mark.parametrize(
    "nonsense",
    ["", "pm_", "pm_12345678_short", "x" * 100_000, "pm_12345678_" + "é" * 43, "pm_1234567\x00_" + "a" * 43],
)
def test_a_malformed_token_is_rejected_without_a_query(
    db: None, nonsense: str, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        assert authenticate_token(nonsense) is None


def test_an_unknown_token_is_rejected(person: People) -> None:
    _, clear = create_token(person(role=Role.READ), "t", "read")
    assert authenticate_token(clear[:-1] + ("a" if clear[-1] != "a" else "b")) is None
    assert authenticate_token(clear + "\n") is None


@pytest.mark.parametrize(
    ("role", "name", "scope", "days"),
    [
        (Role.READ, "t", "operate", 1),
        (None, "t", "read", 1),
        (Role.READ, " ", "read", 1),
        (Role.READ, "a\x1b[2J", "read", 1),
        (Role.READ, "n" * 81, "read", 1),
        (Role.READ, "t", "read", -1),
    ],
)
def test_invalid_token_values_raise_an_error(
    person: People, role: Role | None, name: str, scope: str, days: int
) -> None:
    with pytest.raises(TokenError):
        create_token(person(role=role), name, scope, timezone.now() + timedelta(days=days))
    assert not ApiToken.objects.exists()


def test_the_audit_trail_and_the_log_never_contain_the_token(
    person: People, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        _, clear = create_token(person(role=Role.READ), "t", "read")
        authenticate_token(clear)
    rows = json.dumps(list(AuditEntry.objects.values("actor", "action", "target", "data")))
    assert clear[12:] not in rows + caplog.text
    assert "t (pm_" in rows
