"""Every route with every role. New routes must be added to the table."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from core.access import Role
from core.rest.auth import role_auth
from monitor_site.api import api
from programs.tests.api_rig import define, host, person, token

pytestmark = pytest.mark.django_db
READ, OPERATE, ADMIN = Role.READ, Role.OPERATE, Role.ADMIN

NEEDED: dict[tuple[str, str], Role | None] = {
    ("GET", "/api/system/health"): None,
    ("GET", "/api/system"): READ,
    ("GET", "/api/system/errors"): READ,
    ("GET", "/api/system/errors/{error_id}"): ADMIN,
    ("POST", "/api/system/errors/{error_id}/resolve"): OPERATE,
    ("GET", "/api/status"): READ,
    ("GET", "/api/status/{program_id}"): READ,
    ("GET", "/api/events"): READ,
    ("GET", "/api/programs/{program_id}/events"): READ,
    ("GET", "/api/incidents"): READ,
    ("GET", "/api/incidents/{incident_id}"): READ,
    ("GET", "/api/logs"): READ,
    ("GET", "/api/programs/{program_id}/logs"): READ,
    ("GET", "/api/programs"): READ,
    ("GET", "/api/programs/{program_id}"): READ,
    ("POST", "/api/programs/{program_id}/start"): OPERATE,
    ("POST", "/api/programs/{program_id}/stop"): OPERATE,
    ("POST", "/api/programs/{program_id}/restart"): OPERATE,
    ("POST", "/api/programs/{program_id}/kill"): OPERATE,
    ("POST", "/api/programs/{program_id}/input"): OPERATE,
    ("POST", "/api/programs/{program_id}/scale"): OPERATE,
    ("POST", "/api/programs/actions"): OPERATE,
    ("POST", "/api/programs"): ADMIN,
    ("PATCH", "/api/programs/{program_id}"): ADMIN,
    ("PUT", "/api/programs/{program_id}"): ADMIN,
    ("DELETE", "/api/programs/{program_id}"): ADMIN,
}
CALLS = [(method, path, role, caller) for (method, path), role in NEEDED.items() for caller in (None, *Role)]


def operations() -> dict[tuple[str, str], Any]:
    paths = api.get_openapi_schema(path_prefix="/api/")["paths"]
    return {
        (method.upper(), path): operation
        for path, methods in paths.items()
        for method, operation in methods.items()
    }


def test_every_route_is_in_the_table() -> None:
    # The other apps test the roles of their own routers.
    own = {
        key
        for key in operations()
        if key[1].split("/")[2] in {"programs", "status", "events", "incidents", "logs"}
    }
    assert own | {key for key in NEEDED if key[1].startswith("/api/system")} == NEEDED.keys()


def test_a_route_without_a_role_requires_the_admin_role() -> None:
    callbacks: Any = api.auth
    assert [callback.role for callback in callbacks] == [callback.role for callback in role_auth(ADMIN)]


def is_allowed(client: Client, method: str, path: str) -> bool:
    """Whether the role was accepted; the empty body may still be refused."""
    host()
    answer = client.generic(method, path.format(program_id=define().pk, incident_id=1, error_id=1))
    assert answer.status_code < 500
    return answer.status_code not in (401, 403)


@pytest.mark.parametrize(("method", "path", "needed", "caller"), CALLS)
def test_a_token_can_call_the_routes_of_its_role(
    method: str, path: str, needed: Role | None, caller: Role | None
) -> None:
    headers = {"Authorization": f"Bearer {token(caller)}"} if caller else {}
    expected = needed is None or (caller is not None and caller >= needed)
    assert is_allowed(Client(headers=headers), method, path) is expected


@pytest.mark.parametrize(("method", "path", "needed", "caller"), CALLS)
def test_a_session_can_call_the_routes_of_its_role(
    method: str, path: str, needed: Role | None, caller: Role | None
) -> None:
    client = Client()
    client.force_login(person(caller))
    expected = needed is None or (caller is not None and caller >= needed)
    assert is_allowed(client, method, path) is expected
