from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from core.access import Role
from core.secrets import MASK, keys_path
from programs import events, services
from programs.definition.environment import UNREADABLE_SECRETS
from programs.models import Incident, Program, ProgramEvent

from .api_rig import Api, define

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def api() -> Api:
    return Api(Role.READ)


@transaction.atomic
def happen(type_: str, minutes: int = 0, program: Program | None = None, **values: Any) -> ProgramEvent:
    return events.record(type_, program=program, at=NOON + timedelta(minutes=minutes), **values)


def crash(program: Program, minutes: int = 0, **values: Any) -> Incident:
    event = happen("program.crashed", minutes, program, process_index=0)
    facts: dict[str, Any] = {"meaning": "killed by signal 9", "fingerprint": "f" * 32, "log_lines": ["last words"]}
    return Incident.objects.create(
        event=event,
        program=program,
        program_name=program.name,
        process_index=0,
        timestamp=event.timestamp,
        **{**facts, **values},
    )


def types(found: Any) -> list[str]:
    return [item["type"] for item in found["items"]]


def test_events_are_listed_newest_first(api: Api) -> None:
    happen("agent.started", 0)
    last = happen("alert.firing", 5, data={"value": 3}, actor="x")
    found = api.get("/events")
    assert types(found) == ["alert.firing", "agent.started"]
    assert found["items"][0] == events.as_json(last)
    assert (found["count"], found["items"][0]["timestamp"]) == (2, "2026-11-23T12:05:00Z")


def test_events_of_one_program_are_listed(api: Api) -> None:
    web, db = define("web"), define("db")
    happen("program.crashed", program=web)
    happen("program.fatal", program=db)
    for path in (f"/programs/{web.pk}/events", f"/events?program={web.pk}"):
        assert set(types(api.get(path))) == {"program.crashed", "program.created"}


def test_events_of_a_removed_program_are_kept(api: Api) -> None:
    happen("program.crashed", program=define("web"))
    Program.everything.all().delete()
    assert api.get("/events?type=program.crashed")["items"][0]["program"] == {"id": None, "name": "web"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("type=program.crashed", ["program.crashed"]),
        ("type=alert.*", ["alert.resolved", "alert.firing"]),
        ("type=alert.firing,program.*", ["program.crashed", "alert.firing"]),
        ("type=nothing.such", []),
        ("severity=error", ["program.crashed"]),
        ("severity=error,warning", ["program.crashed", "alert.firing"]),
        ("since=2026-11-23T12:10:00Z", ["program.crashed", "alert.resolved"]),
        ("until=2026-11-23T12:10:00Z", ["alert.firing"]),
        ("since=2026-11-23T21:10:00%2B09:00&until=2026-11-23T21:20:00%2B09:00", ["alert.resolved"]),
        ("since=2026-11-23T21:20:00+09:00", ["program.crashed"]),
        (f"since={int(NOON.timestamp()) + 1200}", ["program.crashed"]),
        ("search=WEB", ["program.crashed"]),
        ("ordering=timestamp", ["alert.firing", "alert.resolved", "program.crashed"]),
        ("per_page=1&page=2", ["alert.resolved"]),
    ],
)
def test_events_can_be_filtered(api: Api, query: str, expected: list[str]) -> None:
    program = define("web")
    ProgramEvent.objects.all().delete()
    happen("alert.firing", 0)
    happen("alert.resolved", 10)
    happen("program.crashed", 20, program)
    assert types(api.get(f"/events?{query}")) == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("since=0001-01-01T00:00:00%2B14:00", "since"),
        ("until=1e30", "until"),
        ("severity=bad", "severity"),
        ("fields=data__secret", "fields"),
        ("ordering=program__name", "ordering"),
        ("type__contains=x", "type__contains"),
        (f"program={2**70}", "program"),
    ],
)
def test_an_invalid_filter_is_refused(api: Api, query: str, field: str) -> None:
    status, body = api("GET", f"/events?{query}")
    assert (status, [error["field"] for error in body["errors"]]) == (422, [field])


def test_fields_selects_the_returned_fields(api: Api) -> None:
    happen("alert.firing")
    assert api.get("/events?fields=type,severity")["items"] == [{"type": "alert.firing", "severity": "warning"}]


def test_incident_details_are_only_in_the_single_view(api: Api) -> None:
    incident = crash(define("web"), exit_code=None, exit_signal="SIGKILL", out_of_memory=True, uptime_seconds=4.5)
    (item,) = api.get("/incidents")["items"]
    shown = api.get(f"/incidents/{incident.pk}")
    assert item["event"] == incident.event.uid
    assert item["program"] == {"id": incident.program_id, "name": "web"}
    assert (item["exit_signal"], item["out_of_memory"], item["uptime_seconds"]) == ("SIGKILL", True, 4.5)
    assert {name: shown.pop(name) for name in ("log_lines", "metrics_before", "changes_before")} == {
        "log_lines": ["last words"],
        "metrics_before": {},
        "changes_before": [],
    }
    assert shown == item


def test_incidents_can_be_filtered(api: Api) -> None:
    web, db = define("web"), define("db")
    crash(web, 0)
    crash(db, 10, meaning="exit code 3", fingerprint="a" * 32)
    queries = {
        f"program={web.pk}": ["web"], f"fingerprint={'a' * 32}": ["db"], "search=CODE 3": ["db"],
        "since=2026-11-23T12:05:00Z": ["db"], "type=program.crashed": ["db", "web"], "severity=info": [],
        "ordering=timestamp": ["web", "db"],
    }  # fmt: skip
    for query, names in queries.items():
        found = api.get(f"/incidents?{query.replace(' ', '%20')}")["items"]
        assert [item["program"]["name"] for item in found] == names, query


def test_a_missing_incident_is_404(api: Api) -> None:
    assert api("GET", "/incidents/5")[1]["detail"] == "There is no incident 5."


def test_lists_of_events_and_incidents_take_three_queries(api: Api, django_assert_num_queries: Any) -> None:
    program = define("web")
    for minutes in range(30):
        crash(program, minutes)
    api.get("/events")
    for path in ("/events?per_page=200", "/incidents?per_page=200"):
        with django_assert_num_queries(3):  # who asks, how many, the page
            api.get(path)


def test_an_event_is_stored_without_secrets(api: Api) -> None:
    secret = [{"name": "TOKEN", "value": "hunter2-secret", "secret": True}]
    web = define(environment=secret)
    data = {
        "text": "login hunter2-secret --password other\n",
        "detail": "exec x: exit code 1: hunter2-secret",
        "failed_steps": ["http:https://u:pw@h: hunter2-secret", 7],
        "pid": 12,
    }
    event = happen("program.input", program=web, data=data)
    assert ProgramEvent.objects.get(pk=event.pk).data == {
        "text": f"login {MASK} --password {MASK}\n",
        "detail": f"exec x: exit code 1: {MASK}",
        "failed_steps": [f"http:https://u:{MASK}@h: {MASK}", 7],
        "pid": 12,
    }
    assert MASK in str(api.get("/events?type=program.input")) and "hunter2" not in str(api.get("/events"))


def test_a_secret_typed_in_two_parts_is_masked_in_both(api: Api) -> None:
    web = define(environment=[{"name": "TOKEN", "value": "hunter2-secret", "secret": True}])
    parts = [happen("program.input", program=web, data={"text": text}) for text in ("login hunter2", "-secret\n")]
    assert [part.data["text"] for part in parts] == [f"login {MASK}", f"{MASK}\n"]


def test_a_changed_variable_with_a_telling_name_is_masked_in_the_event(api: Api) -> None:
    web = define(environment=[{"name": "DB_PASSWORD", "value": "hunter2"}])
    environment = [{"name": "DB_PASSWORD", "value": "hunter3"}, {"name": "MODE", "value": "test"}]
    services.save_definition({"environment": environment}, actor="x", program=web)
    text = str(ProgramEvent.objects.get(type="program.updated").data)
    assert "hunter" not in text and "test" in text


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_an_event_is_recorded_when_the_secrets_cannot_be_read(
    api: Api, settings: Any, tmp_path: Path, mode: int
) -> None:
    web = define(environment=[{"name": "TOKEN", "value": "hunter2-secret", "secret": True}])
    settings.DATA_DIR = tmp_path  # without the key
    keys_path().write_text("no key\n")
    keys_path().chmod(mode)
    event = happen("program.fatal", program=web, data={"reason": "cannot be decrypted", "text": "hunter2-secret"})
    assert event.data == {"reason": "cannot be decrypted", "text": UNREADABLE_SECRETS}
