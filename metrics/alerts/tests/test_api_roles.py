"""Every alert operation with every role, and random bodies. New operations must be listed here."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.access import Role
from metrics.alerts import schemas
from metrics.alerts.models import AlertRule
from programs.tests.api_rig import Api, person, token

from .factories import rule

pytestmark = pytest.mark.django_db
READ, OPERATE, ADMIN = Role.READ, Role.OPERATE, Role.ADMIN
ALERTS = "/metrics/alerts"
NEEDED: dict[tuple[str, str], Role] = {
    ("GET", ALERTS): READ,
    ("GET", f"{ALERTS}/{{alert_id}}"): READ,
    ("GET", f"{ALERTS}/rules"): READ,
    ("GET", f"{ALERTS}/rules/{{rule_id}}"): READ,
    ("POST", f"{ALERTS}/backtest"): READ,
    ("POST", f"{ALERTS}/rules"): ADMIN,
    ("PATCH", f"{ALERTS}/rules/{{rule_id}}"): ADMIN,
    ("PUT", f"{ALERTS}/rules/{{rule_id}}"): ADMIN,
    ("DELETE", f"{ALERTS}/rules/{{rule_id}}"): ADMIN,
}
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["\x00", "cpu_percent", "above", "error", "2026-01-01T00:00:00Z", "9999-12-31", 90, 300])
)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner)
)
few = settings(
    max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def test_every_operation_is_listed_here() -> None:
    paths: dict[str, Any] = Api(READ).get("/openapi.json")["paths"]
    found = {
        (method.upper(), path.removeprefix("/api"))
        for path, methods in paths.items()
        for method in methods
        if path.startswith(f"/api{ALERTS}")
    }
    assert found == NEEDED.keys()


@pytest.mark.parametrize("caller", [None, *Role])
def test_a_token_may_do_what_its_role_allows(caller: Role | None) -> None:
    client = Client(headers={"Authorization": f"Bearer {token(caller)}"} if caller else {})
    rule()
    for (method, path), needed in NEEDED.items():
        answer = client.generic(method, f"/api{path.format(alert_id=1, rule_id=4711)}")
        assert answer.status_code < 500
        is_let_in = answer.status_code not in (401, 403)
        assert is_let_in is (caller is not None and caller >= needed), (method, path, answer.status_code)


def test_a_session_needs_the_csrf_token_to_change_anything() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person(ADMIN))
    assert client.get(f"/api{ALERTS}/rules").status_code == 200
    assert client.post(f"/api{ALERTS}/rules", {}, content_type="application/json").status_code == 403


def bodies(model: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(model.model_fields, ANYTHING))


@pytest.mark.parametrize(
    ("method", "path", "model"),
    [
        ("POST", "/rules", schemas.RuleIn),
        ("PATCH", "/rules/{rule}", schemas.RuleChangesIn),
        ("PUT", "/rules/{rule}", schemas.RuleIn),
        ("POST", "/backtest", schemas.BacktestIn),
    ],
)
def test_random_bodies_are_accepted_or_refused_with_a_reason(method: str, path: str, model: Any) -> None:
    api, filled = Api(ADMIN), f"{ALERTS}{path.format(rule=rule().pk)}"

    @few
    @given(body=bodies(model))
    def call(body: dict[str, Any]) -> None:
        status, answer = api(method, filled, body)
        assert status in (200, 201, 404, 422), (body, answer)

    call()
    assert AlertRule.objects.exists()


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "1" + "0" * 400, "-" + "9" * 30])
@pytest.mark.parametrize("field", ["threshold", "clear_threshold", "window_seconds"])
def test_huge_numbers_are_refused(number: str, field: str) -> None:
    text = f'{{"name": "x", "metric": "threads", "threshold": 5, "{field}": {number}}}'
    answer = Api(ADMIN).client.post(f"/api{ALERTS}/rules", text, content_type="application/json")
    assert answer.status_code in (400, 422)
