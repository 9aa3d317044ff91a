from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver

from core.access import Role
from programs.tests.api_rig import PROBLEM, Api, define, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Api:
    return Api()


def problem(answer: Any, status: int) -> Any:
    """Checks that the response is a problem document and returns it."""
    assert (answer.status_code, answer["Content-Type"]) == (status, PROBLEM), answer.content
    found = json.loads(answer.content)
    assert found["status"] == status
    needed = {"type", "title", "status", "detail", "request_id"}
    assert needed <= found.keys() <= needed | {"errors"}
    assert found["request_id"] == answer["X-Request-ID"]
    assert all(found[name] for name in ("type", "title", "detail"))
    return found


@pytest.mark.parametrize(
    "path", ["/", "/nix", "/programs/", "/programs/1/nix", "/programs/x", "/%00", "/status/-1"]
)
def test_an_unknown_address_is_a_problem_also_for_anonymous_users(api: Api, path: str) -> None:
    problem(api.send("GET", path), 404)
    problem(Client().get(f"/api{path}"), 404)


def test_an_unsupported_method_lists_the_supported_ones(api: Api) -> None:
    answer = api.send("DELETE", "/programs")
    problem(answer, 405)
    assert {word.strip() for word in answer["Allow"].split(",")} == {"GET", "POST"}


def test_a_head_request_gets_the_headers_of_get(api: Api) -> None:
    answer, head = api.send("GET", "/events"), api.send("HEAD", "/events")
    assert (head.status_code, head.content) == (200, b"")
    assert (head["Content-Length"], head["ETag"]) == (answer["Content-Length"], answer["ETag"])
    problem_head = api.send("HEAD", "/nix")
    assert (problem_head.status_code, problem_head["Content-Type"]) == (404, PROBLEM)


@pytest.mark.parametrize(
    "kind", ["text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"]
)
def test_a_body_must_have_the_json_content_type(api: Api, kind: str) -> None:
    body = json.dumps({"name": "web", "command": "sleep 1"})
    answer = api.client.generic("POST", "/api/programs", body, content_type=kind)
    problem(answer, 415)


def test_an_action_refuses_a_body_of_another_type(api: Api) -> None:
    path = f"/api/programs/{define().pk}/stop"
    problem(api.client.generic("POST", path, "x=1", content_type="text/plain"), 415)


def test_json_with_a_charset_is_accepted(api: Api) -> None:
    body = json.dumps({"name": "web", "command": "sleep 1"})
    kind = "application/json; charset=utf-8"
    assert api.client.generic("POST", "/api/programs", body, content_type=kind).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"name": NaN}',
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b"[" * 100_000,
        b'{"a": 1,}',
    ],
)
def test_invalid_json_is_400(api: Api, body: bytes) -> None:
    problem(api.client.generic("POST", "/api/programs", body, content_type="application/json"), 400)


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"null", b'"text"', b"{}"])
def test_json_of_another_type_is_422(api: Api, body: bytes) -> None:
    found = problem(api.client.generic("POST", "/api/programs", body, content_type="application/json"), 422)
    assert all(set(error) == {"field", "message"} for error in found["errors"])


def test_a_body_over_one_megabyte_is_refused(api: Api) -> None:
    body = json.dumps({"name": "web", "command": "x" * (1024 * 1024)})
    problem(api.client.generic("POST", "/api/programs", body, content_type="application/json"), 413)


def test_unknown_parameters_are_refused(api: Api) -> None:
    program = define()
    for path in ("/system", "/status?nix=1", f"/status/{program.pk}?since=1", "/programs?dry_run=1"):
        if "?" in path:
            assert problem(api.send("GET", path), 422)["errors"]
    found = problem(api.send("POST", f"/programs/{program.pk}/stop?wait=0&now=1", None), 422)
    assert found["errors"] == [{"field": "now", "message": "Unknown parameter; use wait."}]


def test_an_internal_error_reveals_nothing_and_is_logged(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: Any) -> Any:
        raise RuntimeError("the secret is hunter2-hunter2")

    monkeypatch.setattr("programs.status.report_as_json", broken)
    found = problem(api.send("GET", "/status"), 500)
    assert "hunter2" not in json.dumps(found)
    assert "Traceback" not in json.dumps(found)
    assert "api.failed" in caplog.text


# --- Authentication -------------------------------------------------------------------------------------


def test_anonymous_requests_get_401() -> None:
    answer = Client().get("/api/status")
    problem(answer, 401)
    assert answer["WWW-Authenticate"] == "Bearer"


def test_authentication_is_checked_before_the_body() -> None:
    for path, body in (("/api/programs", "{"), ("/api/programs/1/stop?nix=1", "")):
        problem(Client().generic("POST", path, body, content_type="text/plain"), 401)


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer pm_x", "Bearer " + "x" * 5000, "Bearer \x7f", "Basic eA=="]
)
def test_an_invalid_token_is_refused(header: str) -> None:
    problem(Client(headers={"Authorization": header}).get("/api/status"), 401)


def test_an_invalid_token_does_not_fall_back_to_the_session() -> None:
    client = Client()
    client.force_login(person())
    assert client.get("/api/status").status_code == 200
    problem(client.get("/api/status", headers={"Authorization": "Bearer pm_wrong"}), 401)


def test_a_session_needs_the_csrf_token_only_for_changes() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person())
    program = define()
    path = f"/api/programs/{program.pk}"
    assert client.get(path).status_code == 200
    found = problem(client.generic("DELETE", path), 403)
    assert "CSRF" in found["detail"]
    client.cookies["csrftoken"] = cookie = "a" * 32
    problem(client.generic("DELETE", path, headers={"X-CSRFToken": "x" * 32}), 403)
    assert client.generic("DELETE", path, headers={"X-CSRFToken": cookie}).status_code == 204


def test_a_token_needs_no_csrf_token() -> None:
    api = Api()
    client = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {api.token}"})
    assert client.generic("DELETE", f"/api/programs/{define().pk}").status_code == 204


def test_an_account_without_a_role_is_forbidden() -> None:
    client = Client()
    client.force_login(person(None))
    found = problem(client.get("/api/status"), 403)
    assert found["detail"] == "This account has no role. Ask an administrator for one."


def test_a_role_that_is_too_low_is_named_in_the_error() -> None:
    found = problem(Api(Role.READ).send("POST", f"/programs/{define().pk}/stop"), 403)
    assert found["detail"].startswith("This requires the role operate;")


def test_there_are_no_cors_headers(api: Api) -> None:
    answer = api.send("GET", "/status", headers={"Origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_an_unknown_host_name_is_a_problem(api: Api) -> None:
    problem(api.send("GET", "/status", headers={"Host": "evil.example"}), 400)


def test_every_route_of_the_api_is_under_one_root() -> None:
    assert [str(route.pattern) for route in get_resolver().url_patterns if "api" in str(route.pattern)] == [
        "api/",
        "^api/",
    ]
