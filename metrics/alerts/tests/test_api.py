"""`/metrics/alerts`: rules, alerts and backtests."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.access import Role
from core.models import AuditEntry
from metrics.alerts import schemas, services
from metrics.alerts.models import Alert, AlertRule
from metrics.storage.tiers import RAW
from metrics.tests.history import store_usage
from programs.models import Program
from programs.tests.api_rig import Api

from .factories import alert, program, record_host, rule

pytestmark = pytest.mark.django_db
RULES = "/metrics/alerts/rules"
HOT = {"name": "hot", "metric": "cpu_percent", "threshold": 90}


@pytest.fixture
def api() -> Api:
    return Api()


def create(api: Api, **values: Any) -> Any:
    status, shown = api("POST", RULES, {**HOT, **values})
    assert status == 201, shown
    return shown


def fields_of(body: Any) -> set[str]:
    return {error["field"] for error in body["errors"]}


# --- Rules ------------------------------------------------------------------------------------------------


def test_a_rule_needs_three_fields_and_has_defaults_for_the_rest(api: Api) -> None:
    answer = api.send("POST", RULES, HOT)
    shown = answer.json()
    assert (answer.status_code, answer["Location"]) == (201, f"/api{RULES}/{shown['id']}")
    assert {name: shown[name] for name in services.FIELDS} == {
        **HOT, "description": "", "enabled": True, "programs": [], "tags": [], "condition": "above",
        "clear_threshold": None, "window_seconds": 300, "severity": "warning",
    }  # fmt: skip
    assert (shown["unit"], shown["firing"]) == ("percent", 0)
    assert api.get(f"{RULES}/{shown['id']}") == shown


def test_the_defaults_of_the_api_are_those_of_the_model() -> None:
    by_schema = schemas.RuleIn.model_validate(HOT).model_dump()
    for name in services.FIELDS[1:]:
        if name not in HOT:
            assert by_schema[name] == getattr(AlertRule(), name), name


def test_every_field_is_accepted_and_returned(api: Api) -> None:
    given = {
        "name": "leak", "description": "Tell the night shift.", "enabled": False, "programs": [program().pk],
        "tags": ["front"], "metric": "memory_bytes", "condition": "below", "threshold": 1.5e9,
        "clear_threshold": 2e9, "window_seconds": 3600, "severity": "error",
    }  # fmt: skip
    shown = create(api, **given)
    assert {name: shown[name] for name in given} == given


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"metric": "warmth"}, "metric"),
        ({"description": "x" * 2001}, "description"),
        ({"condition": "beside"}, "condition"),
        ({"threshold": -1}, "threshold"),
        ({"threshold": 1e16}, "threshold"),
        ({"threshold": 10**30}, "threshold"),
        ({"threshold": "90"}, "threshold"),
        ({"threshold": True}, "threshold"),
        ({"threshold": None}, "threshold"),
        ({"condition": "below", "threshold": 0}, "threshold"),
        ({"clear_threshold": 91}, "clear_threshold"),
        ({"clear_threshold": -1}, "clear_threshold"),
        ({"condition": "below", "clear_threshold": 89}, "clear_threshold"),
        ({"window_seconds": 9}, "window_seconds"),
        ({"window_seconds": 86_401}, "window_seconds"),
        ({"window_seconds": 60.5}, "window_seconds"),
        ({"window_seconds": 10**30}, "window_seconds"),
        ({"severity": "grave"}, "severity"),
        ({"programs": [4711]}, "programs"),
        ({"programs": ["web"]}, "programs"),
        ({"tags": ["two words"]}, "tags"),
        ({"temperature": 5}, "temperature"),
    ],
)
def test_invalid_values_are_refused_by_field(api: Api, change: dict[str, Any], field: str) -> None:
    status, body = api("POST", RULES, {**HOT, **change})
    assert status == 422
    assert {each.split(".")[0] for each in fields_of(body)} == {field}
    existing = create(api)
    assert api("PATCH", f"{RULES}/{existing['id']}", change)[0] == 422
    assert api.get(f"{RULES}/{existing['id']}") == existing


def test_a_name_is_unique(api: Api) -> None:
    create(api)
    status, body = api("POST", RULES, HOT)
    assert (status, fields_of(body)) == (422, {"name"})


def test_patch_changes_given_fields_and_put_replaces_the_rule(api: Api) -> None:
    shown = create(api, severity="error", clear_threshold=50)
    path = f"{RULES}/{shown['id']}"
    status, patched = api("PATCH", path, {"threshold": 95})
    assert (status, patched) == (200, {**shown, "threshold": 95, "revision": patched["revision"]})
    assert patched["revision"] > shown["revision"]
    status, put = api("PUT", path, {**HOT, "name": "other"})
    assert (status, put["severity"], put["clear_threshold"], put["name"]) == (200, "warning", None, "other")


def test_a_removed_program_may_stay_in_a_rule(api: Api) -> None:
    one, two = program("one"), program("two")
    shown = create(api, programs=[one.pk])
    Program.objects.filter(pk=one.pk).delete()
    path = f"{RULES}/{shown['id']}"
    assert api("PATCH", path, {"programs": [one.pk, two.pk]})[0] == 200
    assert api("PATCH", path, {"programs": [two.pk, 4711]})[0] == 422


def test_removing_a_rule_keeps_its_alerts(api: Api) -> None:
    hot = rule()
    alert(hot, program(), lasted=10)
    assert api("DELETE", f"{RULES}/{hot.pk}")[0] == 204
    assert api("GET", f"{RULES}/{hot.pk}")[0] == 404
    assert api.get("/metrics/alerts")["items"][0]["rule"] == {"id": None, "name": "hot"}


def test_changes_are_audited(api: Api) -> None:
    shown = create(api)
    api("PATCH", f"{RULES}/{shown['id']}", {"threshold": 95})
    api("DELETE", f"{RULES}/{shown['id']}")
    found = AuditEntry.objects.filter(action__startswith="alert_rule").order_by("pk")
    assert list(found.values_list("action", "target")) == [
        ("alert_rule.created", "hot"), ("alert_rule.changed", "hot"), ("alert_rule.removed", "hot"),
    ]  # fmt: skip
    assert found[1].data["fields"] == ["threshold"]


def test_rules_are_listed_with_their_number_of_firing_alerts(api: Api, django_assert_max_num_queries: Any) -> None:
    one, two = rule("one"), rule("two", metric="threads", enabled=False)
    for number in range(3):
        alert(one, program(f"p{number}"))
    alert(two, Program.objects.all()[0], lasted=5)
    with django_assert_max_num_queries(6):
        found = api.get(f"{RULES}?ordering=-firing&fields=name,firing")
    assert found["items"] == [{"name": "one", "firing": 3}, {"name": "two", "firing": 0}]
    assert [each["name"] for each in api.get(f"{RULES}?enabled=false")["items"]] == ["two"]
    assert [each["name"] for each in api.get(f"{RULES}?metric=threads&search=TW")["items"]] == ["two"]


# --- Alerts -----------------------------------------------------------------------------------------------


def test_an_alert_has_the_documented_shape(api: Api) -> None:
    hot, web = rule(), program()
    row = alert(hot, web, age=100, lasted=60)
    (shown,) = api.get("/metrics/alerts")["items"]
    assert shown == {
        "id": row.pk, "rule": {"id": hot.pk, "name": "hot"}, "program": {"id": web.pk, "name": "web"},
        "state": "resolved", "severity": "warning", "metric": "cpu_percent", "unit": "percent",
        "condition": "above", "threshold": 90, "window_seconds": 60, "value": 95, "highest": 99, "lowest": 91,
        "started_at": shown["started_at"], "resolved_at": shown["resolved_at"], "reason": "recovered",
        "seconds": 60,
    }  # fmt: skip
    assert shown["started_at"].endswith("Z")
    assert api.get(f"/metrics/alerts/{row.pk}") == shown
    assert api("GET", "/metrics/alerts/4711")[0] == 404
    assert api("GET", f"/metrics/alerts/{10**20}")[0] == 404


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["new", "old"]),
        ("state=firing", ["new"]),
        ("state=resolved", ["old"]),
        ("rule={rule}", ["new", "old"]),
        ("rule=4711", []),
        ("program={old}", ["old"]),
        ("severity=warning", ["new", "old"]),
        ("severity=error", []),
        ("since={hour_ago}", ["new"]),
        ("until={hour_ago}", ["old"]),
        ("search=OL", ["old"]),
        ("ordering=started_at", ["old", "new"]),
        ("per_page=1&page=2", ["old"]),
    ],
)
def test_alerts_are_found_newest_first(api: Api, query: str, expected: list[str]) -> None:
    hot, old, new = rule(), program("old"), program("new")
    alert(hot, old, age=7200, lasted=60)
    alert(hot, new)
    values = {"rule": hot.pk, "old": old.pk, "hour_ago": int(time.time()) - 3600}
    found = api.get(f"/metrics/alerts?{query.format(**values)}")
    assert [each["program"]["name"] for each in found["items"]] == expected


@pytest.mark.parametrize("query", ["state=open", "rule=x", "since=yesterday", "severity=grave", "mood=bad"])
def test_an_invalid_filter_is_refused(api: Api, query: str) -> None:
    assert api("GET", f"/metrics/alerts?{query}")[0] == 422


def test_alert_routes_do_not_shadow_metric_routes(api: Api) -> None:
    web = program()
    assert "series" in api.get(f"/metrics/{web.pk}")
    assert "programs" in api.get("/metrics/query")


# --- Backtest ---------------------------------------------------------------------------------------------


def past(minutes: int = 10) -> int:
    """The start of the minute that many minutes ago."""
    now = int(time.time())
    return now - now % 60 - 60 * minutes


@pytest.fixture
def hot_history() -> int:
    start = past()
    record_host(start, start + 300)
    web = program()
    for number in range(30):
        store_usage(RAW, web, start + 10 * number, cpu=95 if number < 15 else 5)
    return start


@pytest.mark.parametrize("is_saved", [True, False])
def test_a_rule_is_backtested(hot_history: int, is_saved: bool) -> None:
    tried = rule().pk if is_saved else {"metric": "cpu_percent", "threshold": 90, "window_seconds": 60}
    body = {"rule": tried, "start": hot_history, "end": hot_history + 300}
    status, found = Api(Role.READ)("POST", "/metrics/alerts/backtest", body)
    assert status == 200, found
    assert (found["total"], found["judged"], found["step"], found["tier"]) == (1, 1, 10, "raw")
    (about,) = found["programs"]
    (episode,) = about["alerts"]
    assert (about["name"], episode["value"], episode["reason"]) == ("web", 95, "recovered")
    begun = datetime.fromisoformat(episode["started_at"])
    assert begun == datetime.fromtimestamp(hot_history + 50, UTC)
    assert not Alert.objects.exists()


def test_the_default_backtest_is_the_last_day(api: Api) -> None:
    status, found = api("POST", "/metrics/alerts/backtest", {"rule": {"metric": "threads", "threshold": 1}})
    length = datetime.fromisoformat(found["end"]) - datetime.fromisoformat(found["start"])
    assert (status, found["programs"], found["judged"]) == (200, [], 0)
    assert timedelta(hours=23, minutes=59) <= length <= timedelta(hours=24, minutes=1)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "rule"),
        ({"rule": 4711}, 404, ""),
        ({"rule": {"metric": "cpu_percent"}}, 422, "rule"),
        ({"rule": {"metric": "cpu_percent", "threshold": 90, "clear_threshold": 95}}, 422, "clear_threshold"),
        ({"rule": {"metric": "cpu_percent", "threshold": 90}, "hours": 169}, 422, "hours"),
        ({"rule": {"metric": "cpu_percent", "threshold": 90}, "hours": 1, "start": 5}, 422, "hours"),
        ({"rule": {"metric": "cpu_percent", "threshold": 90}, "start": 5, "end": 5}, 422, "end"),
    ],
)
def test_an_invalid_backtest_is_refused(api: Api, body: dict[str, Any], status: int, field: str) -> None:
    got, answer = api("POST", "/metrics/alerts/backtest", body)
    assert got == status
    if field:
        assert {each.split(".")[0] for each in fields_of(answer)} == {field}


def test_the_name_of_a_draft_may_be_taken(api: Api) -> None:
    create(api)
    assert api("POST", "/metrics/alerts/backtest", {"rule": HOT})[0] == 200


def test_a_backtest_beyond_the_limit_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.alerts.backtest.MAX_POINTS_READ", 100)
    program()
    status, body = api("POST", "/metrics/alerts/backtest", {"rule": {"metric": "threads", "threshold": 1}})
    assert (status, fields_of(body)) == (422, {"hours"})
    assert "limit of 100" in str(body["errors"])
