from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Model
from django.test import RequestFactory
from django.utils import timezone
from structlog.contextvars import bound_contextvars

from core.access import Principal, Role, audit, command_actor, create_token
from core.access.audit import expire
from core.access.login import client_address
from core.models import AppendOnlyError, AuditEntry

from .conftest import People

pytestmark = pytest.mark.django_db


def test_a_row_has_actor_action_target_outcome_and_address() -> None:
    audit("alice", "program.start", "web", address="::1", data={"wait": 10})
    found = AuditEntry.objects.values("actor", "action", "target", "outcome", "address", "data").get()
    assert found == {
        "actor": "alice",
        "action": "program.start",
        "target": "web",
        "outcome": "done",
        "address": "::1",
        "data": {"wait": 10},
    }


def test_a_row_has_the_token_prefix_and_the_request_id(person: People) -> None:
    user = person(role=Role.READ)
    with bound_contextvars(request_id="abc12345"):
        entry = audit(Principal(user, Role.READ, "alice (token x)", "pm_1a2b3c4d"), "program.read")
    assert entry.data == {"token_prefix": "pm_1a2b3c4d", "request_id": "abc12345"}


def test_secrets_are_masked(person: People) -> None:
    _, clear = create_token(person(role=Role.READ), "t", "read")
    data = {
        "password": "hunter2",
        "note": f"tried {clear}",
        "nested": [{"api_key": "hunter2", "secret": {"set": True}}],
        "environment": [{"name": "TOKEN", "value": "hunter2", "secret": True}],
        "url": "https://bob:hunter2@example.org/x",
    }
    entry = audit("alice", "webhook.change", f"with {clear}", data=data)
    entry.refresh_from_db()
    shown = f"{entry.target} {entry.data}"
    assert "hunter2" not in shown
    assert clear[12:] not in shown
    assert entry.data["nested"][0]["secret"] == {"set": True}
    assert clear[:11] in entry.target


def test_values_that_json_cannot_encode_become_text() -> None:
    data = {"at": timedelta(1), "nan": float("nan"), "set": {1}, "map": {5: None}, "nul": "a\x00b"}
    entry = audit("a", "b", data=data)
    entry.refresh_from_db()
    assert entry.data == {"at": "1 day, 0:00:00", "nan": "nan", "set": [1], "map": {"5": None}, "nul": "a\ufffdb"}


def test_long_and_unprintable_texts_are_cleaned() -> None:
    entry = audit("a" * 500, "b" * 500, "evil\x1b[2J\nalice login" + "c" * 500)
    entry.refresh_from_db()
    assert (len(entry.actor), len(entry.action), len(entry.target)) == (150, 60, 200)
    assert entry.target.startswith("evil\ufffd[2J alice login")


def test_a_row_cannot_be_changed_or_deleted() -> None:
    entry = audit("alice", "program.start", "web")
    entry.actor = "mallory"
    refused: list[Any] = [
        entry.save,
        entry.delete,
        lambda: AuditEntry(pk=entry.pk, actor="mallory", action="x").delete(),
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.filter(pk=entry.pk).update(actor="mallory"),
        lambda: AuditEntry.objects.update_or_create(pk=entry.pk, defaults={"actor": "mallory"}),
        lambda: AuditEntry.objects.bulk_update([entry], ["actor"]),
    ]
    for attempt in refused:
        with pytest.raises(AppendOnlyError):
            attempt()
    assert AuditEntry.objects.get().actor == "alice"


def test_a_new_row_cannot_overwrite_another() -> None:
    entry = audit("alice", "program.start", "web")
    with pytest.raises(IntegrityError), transaction.atomic():
        AuditEntry(pk=entry.pk, actor="mallory", action="x").save()
    assert AuditEntry.objects.get().actor == "alice"


def test_retention_deletes_only_old_rows() -> None:
    old = [audit("alice", f"old.{n}") for n in range(5)]
    with connection.cursor() as cursor:  # only SQL can backdate a row
        cursor.execute("UPDATE core_auditentry SET at = %s", [timezone.now() - timedelta(days=100)])
    audit("alice", "new")
    assert expire(timezone.now() - timedelta(days=90), batch=2) == len(old)
    assert [entry.action for entry in AuditEntry.objects.all()] == ["new"]


def test_deleting_a_user_keeps_the_audit_rows(person: People) -> None:
    user: Model = person()
    audit("alice", "program.start")
    user.delete()
    assert AuditEntry.objects.get().actor == "alice"


def test_the_actor_of_a_command_is_the_system_user() -> None:
    assert command_actor().endswith(" (command line)")


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", None),
        ("unix:", None),
    ],
)
def test_the_address_comes_from_the_connection(raw: str, seen: str | None) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR=raw, HTTP_X_FORWARDED_FOR="203.0.113.9")
    assert client_address(request) == seen
