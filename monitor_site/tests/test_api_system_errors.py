from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.access import Role
from core.errors import store
from core.errors.occurrence import Occurrence
from core.models import ErrorGroup
from programs.tests.api_rig import Api

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def seen(fingerprint: str, *, after: int = 0, count: int = 1, process: str = "web", message: str = "no") -> None:
    at = NOON + timedelta(seconds=after)
    store.add(Occurrence(fingerprint, "ValueError", "core.x.f", process, "GET x", message, "trace", at, at, count))


def prints(api: Api, query: str = "") -> list[str]:
    return [item["fingerprint"] for item in api.get(f"/system/errors{query}")["items"]]


def test_errors_are_listed_by_their_last_occurrence() -> None:
    api = Api(Role.READ)
    seen("a", after=5, count=7)
    seen("b", after=9)
    page = api.get("/system/errors")
    assert (page["count"], page["page"], page["per_page"]) == (2, 1, 20)
    assert [item["fingerprint"] for item in page["items"]] == ["b", "a"]
    assert page["items"][1]["count"] == 7
    assert page["items"][1]["last_seen_at"] == "2026-11-02T12:00:05Z"
    assert "traceback" not in page["items"][0]


def test_errors_can_be_filtered_ordered_and_paginated() -> None:
    api = Api(Role.READ)
    seen("a", count=7, process="agent", message="disk full")
    seen("b", after=9)
    assert prints(api, "?process=agent") == ["a"]
    assert prints(api, "?search=DISK") == ["a"]
    assert prints(api, "?ordering=-count") == ["a", "b"]
    assert prints(api, "?since=2026-11-02T12:00:01Z") == ["b"]
    assert prints(api, "?per_page=1&page=2") == ["a"]
    assert api.get("/system/errors?fields=id,count&process=agent")["items"][0].keys() == {"id", "count"}


@pytest.mark.parametrize("query", ["ordering=traceback", "fields=traceback", "state=ajar", "process=%00", "x=1"])
def test_invalid_parameters_are_refused(query: str) -> None:
    status, _ = Api(Role.ADMIN)("GET", f"/system/errors?{query}")
    assert status == 422


def test_only_administrators_get_the_traceback() -> None:
    seen("a")
    pk = ErrorGroup.objects.get().pk
    assert Api(Role.OPERATE)("GET", f"/system/errors/{pk}")[0] == 403
    assert Api(Role.ADMIN).get(f"/system/errors/{pk}")["traceback"] == "trace"


def test_a_resolved_error_is_not_open_until_it_occurs_again() -> None:
    api = Api(Role.OPERATE)
    seen("a")
    pk = ErrorGroup.objects.get().pk
    status, answer = api("POST", f"/system/errors/{pk}/resolve")
    assert (status, answer["resolved_by"] != "", answer["resolved_at"] is not None) == (200, True, True)
    assert (prints(api, "?state=open"), prints(api, "?state=resolved")) == ([], ["a"])
    store.add(_again())
    assert prints(api, "?state=open") == ["a"]


def _again() -> Occurrence:
    now = datetime.now(UTC) + timedelta(seconds=1)
    return Occurrence("a", "ValueError", "core.x.f", "web", "GET x", "no", "trace", now, now)


@pytest.mark.parametrize("number", [0, 1, 2**63, 10**30])
def test_an_unknown_error_is_404(number: int) -> None:
    assert Api()("GET", f"/system/errors/{number}")[0] == 404


def test_the_error_list_takes_a_constant_number_of_queries(django_assert_num_queries: Any) -> None:
    api = Api(Role.READ)
    for number in range(30):
        seen(str(number))
    with django_assert_num_queries(4):
        api.get("/system/errors?per_page=30")
