"""Every webhook operation with every role. Add new operations here."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from core.access import Role
from programs.tests.api_rig import Api, person, token
from webhooks.tests.rig import endpoint, record_event

pytestmark = pytest.mark.django_db
READ, OPERATE, ADMIN = Role.READ, Role.OPERATE, Role.ADMIN
NEEDED: dict[tuple[str, str], Role] = {
    ("GET", "/webhooks"): READ,
    ("GET", "/webhooks/health"): READ,
    ("GET", "/webhooks/formats"): READ,
    ("GET", "/webhooks/deliveries"): READ,
    ("GET", "/webhooks/deliveries/{delivery_id}"): READ,
    ("GET", "/webhooks/mutes"): READ,
    ("GET", "/webhooks/mutes/{mute_id}"): READ,
    ("GET", "/webhooks/{webhook_id}"): READ,
    ("GET", "/webhooks/{webhook_id}/health"): READ,
    ("GET", "/webhooks/{webhook_id}/deliveries"): READ,
    ("POST", "/webhooks/{webhook_id}/test"): OPERATE,
    ("POST", "/webhooks/{webhook_id}/preview"): OPERATE,
    ("POST", "/webhooks/{webhook_id}/recover"): OPERATE,
    ("POST", "/webhooks/{webhook_id}/replay"): OPERATE,
    ("POST", "/webhooks/deliveries/{delivery_id}/redeliver"): OPERATE,
    ("POST", "/webhooks/mutes"): OPERATE,
    ("PATCH", "/webhooks/mutes/{mute_id}"): OPERATE,
    ("DELETE", "/webhooks/mutes/{mute_id}"): OPERATE,
    ("POST", "/webhooks"): ADMIN,
    ("POST", "/webhooks/preview"): ADMIN,
    ("PATCH", "/webhooks/{webhook_id}"): ADMIN,
    ("PUT", "/webhooks/{webhook_id}"): ADMIN,
    ("DELETE", "/webhooks/{webhook_id}"): ADMIN,
    ("POST", "/webhooks/{webhook_id}/rotate"): ADMIN,
}


def test_every_operation_is_listed_here() -> None:
    paths: dict[str, Any] = Api(READ).get("/openapi.json")["paths"]
    found = {
        (method.upper(), path.removeprefix("/api"))
        for path, methods in paths.items()
        for method in methods
        if path.startswith("/api/webhooks")
    }
    assert found == NEEDED.keys()


@pytest.mark.parametrize("caller", [None, *Role])
def test_a_token_may_do_what_its_role_allows(caller: Role | None) -> None:
    client = Client(headers={"Authorization": f"Bearer {token(caller)}"} if caller else {})
    record_event("agent.started")
    row = endpoint()
    for (method, path), needed in NEEDED.items():
        filled = path.format(webhook_id=row.pk if needed is READ else 4711, delivery_id="msg_1", mute_id=1)
        answer = client.generic(method, f"/api{filled}")
        assert answer.status_code < 500
        is_let_in = answer.status_code not in (401, 403)
        assert is_let_in is (caller is not None and caller >= needed), (method, path, answer.status_code)


def test_a_session_needs_the_csrf_token_to_change_anything() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person(ADMIN))
    assert client.get("/api/webhooks").status_code == 200
    assert client.post(f"/api/webhooks/{endpoint().pk}/test", content_type="application/json").status_code == 403
