"""The `/metrics` routes: response formats, errors and access."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient, Client

from core.access import Role
from core.models import ApiToken
from metrics.models import OpenPeriod
from metrics.storage.tiers import HOUR, MINUTE, RAW
from programs.connection_limits import connections
from programs.tests.api_rig import Api, define, host, token

from .history import store_host_usage, store_usage, store_usage_rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Api:
    return Api(Role.READ)


def an_hour_ago() -> int:
    return int(time.time()) // 3600 * 3600 - 3600


# --- Series ---------------------------------------------------------------------------------------------


def test_the_history_of_a_program_has_the_documented_shape(api: Api) -> None:
    program, at = define("web"), an_hour_ago()
    store_usage_rows(MINUTE, program, [at, at + 60], cpu=12.5, memory=4096)
    query = f"start={at}&end={at + 120}&step=60&metrics=cpu_percent&aggregates=avg,max"
    assert api.get(f"/metrics/{program.pk}?{query}") == {
        "step": 60,
        "tier": "minute",
        "series": {"cpu_percent": {"avg": [[at, 12.5], [at + 60, 12.5]], "max": [[at, 12.5], [at + 60, 12.5]]}},
    }


def test_the_default_is_cpu_and_memory_of_a_day(api: Api) -> None:
    found = api.get(f"/metrics/{define().pk}")
    assert found == {
        "step": 300,
        "tier": "minute",
        "series": {"cpu_percent": {"avg": []}, "memory_bytes": {"avg": []}},
    }


def test_points_of_the_current_second_are_included(api: Api) -> None:
    program, now = define(), int(time.time())
    store_usage(RAW, program, now)
    OpenPeriod.objects.create(host=host(), tier="raw", period=RAW.period_of(now))
    assert len(api.get(f"/metrics/{program.pk}?hours=0.25")["series"]["cpu_percent"]["avg"]) == 1


def test_the_previous_series_is_one_offset_earlier(api: Api) -> None:
    program, at = define(), an_hour_ago()
    store_usage(MINUTE, program, at, cpu=30)
    store_usage(MINUTE, program, at - 600, cpu=10)
    query = f"start={at}&end={at + 600}&step=60&metrics=cpu_percent&compare=previous"
    found = api.get(f"/metrics/{program.pk}?{query}")
    assert found["series"]["cpu_percent"]["avg"] == [[at, 30.0]]
    assert found["previous"] == {"offset": 600, "series": {"cpu_percent": {"avg": [[at - 600, 10.0]]}}}


def test_several_programs_or_all_are_returned_together(api: Api) -> None:
    web, db, at = define("web"), define("db"), an_hour_ago()
    define("idle")
    store_usage(MINUTE, web, at, cpu=30)
    store_usage(MINUTE, db, at, cpu=10)
    query = f"start={at}&end={at + 60}&step=60&metrics=cpu_percent"
    db_found = {"id": db.pk, "name": "db", "series": {"cpu_percent": {"avg": [[at, 10.0]]}}}
    web_found = {"id": web.pk, "name": "web", "series": {"cpu_percent": {"avg": [[at, 30.0]]}}}
    assert api.get(f"/metrics/query?{query}")["programs"] == [db_found, web_found]
    assert api.get(f"/metrics/query?{query}&programs={web.pk}")["programs"] == [web_found]


def test_several_programs_are_compared_with_the_previous_time(api: Api) -> None:
    program, at = define("web"), an_hour_ago()
    store_usage(MINUTE, program, at - 60, cpu=10)
    query = f"start={at}&end={at + 60}&step=60&metrics=cpu_percent&compare=previous"
    found = api.get(f"/metrics/query?{query}")
    assert found["offset"] == 60
    assert found["programs"][0]["series"] == {"cpu_percent": {"avg": []}}
    assert found["programs"][0]["previous"] == {"cpu_percent": {"avg": [[at - 60, 10.0]]}}


def test_the_history_of_a_host(api: Api) -> None:
    at = an_hour_ago()
    store_host_usage(host("first"), RAW, at)
    store_host_usage(host("second", is_default=False), RAW, at, cpu_percent=90)
    query = f"start={at}&end={at + 10}&step=10&metrics=cpu_percent"
    assert api.get(f"/metrics/host?{query}")["series"] == {"cpu_percent": {"avg": [[at, 20.0]]}}
    assert api.get(f"/metrics/host?{query}&host=second")["series"] == {"cpu_percent": {"avg": [[at, 90.0]]}}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("hours=169", "hours"),
        ("hours=0", "hours"),
        ("hours=nan", "hours"),
        ("hours=1&start=2026-01-01", "hours"),
        ("start=2026-01-02&end=2026-01-01", "end"),
        ("start=3026-01-02", "end"),
        ("step=0", "step"),
        ("step=fast", "step"),
        ("step=999999999", "step"),
        ("hours=168&step=60", "step"),
        ("metrics=cpu", "metrics"),
        ("aggregates=median", "aggregates"),
        ("metrics=threads&aggregates=p95", "aggregates"),
        ("compare=next", "compare"),
        ("hour=1", "hour"),
    ],
)
def test_an_invalid_query_is_refused(api: Api, query: str, field: str) -> None:
    status, body = api("GET", f"/metrics/{define().pk}?{query}")
    assert (status, [error["field"] for error in body["errors"]]) == (422, [field])


@pytest.mark.parametrize(
    "query",
    ["start=0001-01-01&end=9999-12-31", "start=1970-01-01", "hours=0.0001", "end=0001-01-02", "end=9999-12-31"],
)
def test_extreme_dates_cause_no_error(api: Api, query: str) -> None:
    store_usage(MINUTE, define(), an_hour_ago())
    for path in ("/metrics/1", "/metrics/query", "/metrics/host", "/metrics/summary"):
        host()
        assert api("GET", f"{path}?{query}&compare=previous")[0] in (200, 404), path


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/metrics/5", "There is no program 5."),
        (f"/metrics/{2**70}", f"There is no program {2**70}."),
        ("/metrics/query?programs=5", "There is no program 5."),
        ("/metrics/host?host=mars", "There is no host mars."),
        ("/metrics/host", "There is no host yet."),
    ],
)
def test_unknown_programs_and_hosts_are_404(api: Api, path: str, detail: str) -> None:
    status, body = api("GET", path)
    assert (status, body["detail"]) == (404, detail)


@pytest.mark.parametrize("programs", ["", ",", "web", "0", "-1", "1;2", "²", str(2**63), "9" * 30])
def test_invalid_program_ids_are_refused(api: Api, programs: str) -> None:
    for route in ("query", "summary", "export"):
        status, body = api("GET", f"/metrics/{route}?programs={programs}")
        assert (status, body["errors"][0]["field"]) == (422, "programs")


# --- Summary --------------------------------------------------------------------------------------------


def test_a_summary_is_sorted_and_limited(api: Api) -> None:
    at = an_hour_ago()
    for number in range(4):
        store_usage(HOUR, define(f"p{number}"), at - 3600, cpu=number)
    found = api.get("/metrics/summary?hours=24&ordering=-cpu_percent.max&limit=2")
    assert [item["name"] for item in found["items"]] == ["p3", "p2"]
    assert set(found["items"][0]) == {"id", "name", "cpu_percent", "memory_bytes", "uptime_ratio", "restarts"}


def test_a_summary_can_include_the_previous_window(api: Api) -> None:
    program, at = define("web"), an_hour_ago()
    store_usage(HOUR, program, at - 3600, cpu=30)
    store_usage(HOUR, program, at - 30 * 3600, cpu=10)
    (item,) = api.get("/metrics/summary?hours=24&compare=previous")["items"]
    assert item["cpu_percent"]["avg"] == 30.0
    assert item["previous"]["cpu_percent"]["avg"] == 10.0


@pytest.mark.parametrize(
    ("query", "field"), [("ordering=cpu", "ordering"), ("limit=0", "limit"), ("limit=1001", "limit")]
)
def test_an_invalid_summary_query_is_refused(api: Api, query: str, field: str) -> None:
    status, body = api("GET", f"/metrics/summary?{query}")
    assert (status, [error["field"] for error in body["errors"]]) == (422, [field])


# --- Access and export ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["1", "query", "host", "summary", "export"])
def test_requests_without_credentials_are_401(path: str) -> None:
    assert Client().get(f"/api/metrics/{path}").status_code == 401


def asked_for(query: str, **headers: str) -> Any:
    """A function that exports as a reader. Call it before the event loop runs."""
    headers["Authorization"] = f"Bearer {token(Role.READ)}"

    async def export() -> tuple[Any, bytes]:
        answer: Any = await AsyncClient().get(f"/api/metrics/export?{query}", headers=headers)
        return answer, b"".join([piece async for piece in answer.streaming_content])

    return export


@pytest.mark.django_db(transaction=True)
def test_rows_are_exported_as_json_lines() -> None:
    program, at = define("web"), an_hour_ago()
    store_usage_rows(MINUTE, program, range(at, at + 600, 60), cpu=12.5)
    answer, content = asyncio.run(asked_for(f"start={at}&end={at + 300}&programs={program.pk}")())
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/jsonl")
    rows = [json.loads(line) for line in content.splitlines()]
    assert [row["cpu_percent_avg"] for row in rows] == [12.5] * 5


@pytest.mark.django_db(transaction=True)
def test_an_export_is_compressed_if_accepted() -> None:
    store_usage(MINUTE, define("web"), an_hour_ago())
    export = asked_for("format=csv&tier=all", **{"Accept-Encoding": "gzip, br"})
    answer, content = asyncio.run(export())
    assert answer["Content-Encoding"] == "gzip" and "Accept-Encoding" in answer["Vary"]
    assert gzip.decompress(content).decode().splitlines()[1].startswith("web,")


@pytest.mark.parametrize(
    ("query", "field"),
    [("tier=week", "tier"), ("format=xml", "format"), ("programs=x", "programs"), ("hours=200", "hours")],
)
@pytest.mark.django_db(transaction=True)
def test_an_invalid_export_query_is_refused(api: Api, query: str, field: str) -> None:
    status, body = api("GET", f"/metrics/export?{query}")
    assert (status, [error["field"] for error in body["errors"]]) == (422, [field])


@pytest.mark.django_db(transaction=True)
def test_an_export_stops_when_the_token_is_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.api.RECHECK_SECONDS", -1.0)
    at = an_hour_ago()
    store_usage_rows(MINUTE, define("web"), range(at, at + 300, 60))
    monkeypatch.setattr("metrics.storage.export.BATCH", 1)
    key = token(Role.READ)

    async def export() -> list[bytes]:
        headers = {"Authorization": f"Bearer {key}"}
        answer: Any = await AsyncClient().get("/api/metrics/export", headers=headers)
        pieces = aiter(answer.streaming_content)
        first = await anext(pieces)
        await sync_to_async(ApiToken.objects.all().delete)()
        return [first, *[piece async for piece in pieces]]

    assert len(asyncio.run(export())) == 1


@pytest.mark.django_db(transaction=True)
def test_a_disconnect_frees_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    store_usage_rows(MINUTE, define("web"), [an_hour_ago()])
    key = token(Role.READ)

    async def export() -> bool:
        headers = {"Authorization": f"Bearer {key}"}
        answer: Any = await AsyncClient().get("/api/metrics/export", headers=headers)
        pieces = aiter(answer.streaming_content)
        await anext(pieces)
        taken = bool(connections._open)
        await pieces.aclose()
        del answer, pieces  # the test client keeps a reference cycle, which the server does not
        gc.collect()
        while connections._open:
            await asyncio.sleep(0.01)
        return taken

    assert asyncio.run(asyncio.wait_for(export(), 60))
