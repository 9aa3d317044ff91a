from __future__ import annotations

from typing import Any

import pytest

from core.access import Role
from programs.payloads import ProgramStatus

from .api_rig import Api, define, host, running

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Api:
    host()
    return Api(Role.READ)


def test_all_statuses_are_in_one_response(api: Api) -> None:
    running(define("b"), pid=2)
    running(define("a"), pid=1)
    found = api.get("/status")
    assert found["full"] is True
    assert [(program["name"], program["pid"]) for program in found["programs"]] == [("a", 1), ("b", 2)]
    assert set(found["programs"][0]) == set(ProgramStatus.__annotations__)


def test_since_returns_changes_and_the_next_revision(api: Api) -> None:
    first, second = define("first"), define("second")
    revision = api.get("/status")["revision"]
    running(second, pid=5)
    found = api.get(f"/status?since={revision}")
    assert [program["name"] for program in found["programs"]] == ["second"]
    assert api.get(f"/status?since={found['revision']}")["programs"] == []
    assert first.pk != second.pk


def test_a_single_status_equals_that_in_the_list(api: Api) -> None:
    program = define()
    running(program)
    assert api.get(f"/status/{program.pk}") == api.get("/status")["programs"][0]


@pytest.mark.parametrize("value", ["-1", "x", "1.5", str(2**63), "", "null"])
def test_an_invalid_revision_is_refused(api: Api, value: str) -> None:
    status, body = api("GET", f"/status?since={value}")
    assert (status, body["errors"][0]["field"]) == (422, "since")


@pytest.mark.parametrize("path", ["/status/99", f"/status/{2**63}", f"/status/{10**40}"])
def test_the_status_of_an_unknown_program_is_404(api: Api, path: str) -> None:
    assert api("GET", path)[0] == 404


def test_an_unchanged_response_is_304(api: Api) -> None:
    define(autostart=False)
    first = api.send("GET", "/status")
    again = api.send("GET", "/status", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    define("another")
    assert api.send("GET", "/status", headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_a_compressed_response_keeps_its_etag(api: Api) -> None:
    for number in range(20):
        define(f"p{number}", autostart=False)
    plain = api.send("GET", "/status")
    packed = api.send("GET", "/status", headers={"Accept-Encoding": "gzip"})
    assert packed["Content-Encoding"] == "gzip"
    assert len(packed.content) < len(plain.content) / 4
    assert packed["ETag"] == f"W/{plain['ETag']}"
    headers = {"Accept-Encoding": "gzip", "If-None-Match": packed["ETag"]}
    assert api.send("GET", "/status", headers=headers).status_code == 304


def test_it_takes_three_queries_including_the_token(api: Api, django_assert_num_queries: Any) -> None:
    for number in range(20):
        running(define(f"p{number}"))
    api.get("/status")  # notes the use of the token, once a minute
    program = define("new")
    running(program)
    with django_assert_num_queries(3):
        api.get("/status")
