from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from programs import events, services
from programs.models import Host, Incident, Program, ProgramEvent

from .conftest import MakeProgram

EVENTS = "/admin/programs/programevent/"
INCIDENTS = "/admin/programs/incident/"
HOSTS = "/admin/programs/host/"


def happened(type_: str, program: Program | None = None, **more: Any) -> ProgramEvent:
    with transaction.atomic():
        return events.record(type_, program=program, **more)


def crashed(program: Program, **more: Any) -> Incident:
    event = happened("program.crashed", program, process_index=0)
    values = {
        "meaning": "killed by <SIGSEGV>",
        "exit_signal": "SIGSEGV",
        "fingerprint": "f",
        "uptime_seconds": 75.0,
    }
    return Incident.objects.create(
        event=event,
        program=program,
        program_name=program.name,
        process_index=0,
        timestamp=event.timestamp,
        **{**values, **more},
    )


def types(client: Client, query: str) -> list[str]:
    return [event.type for event in client.get(EVENTS + query).context["cl"].result_list]


def test_events_are_shown_as_text(viewer: Client, program: MakeProgram) -> None:
    web = program("web")
    services.save_definition({"command": "sleep 61"}, program=web, actor="alice")
    happened("program.crashed", web, data={"meaning": "exit code <3>", "uptime_seconds": 75})
    happened("program.input", web, data={"text": "say <hi>\n"}, actor="bob")
    happened("program.stopped", web, data={"step": "signal:TERM", "seconds": 0.2, "tree_killed": True})
    happened("program.unhealthy", web, data={"detail": "http http://127.0.0.1:1/: connection refused"})
    happened("agent.started", data={"anything": None})
    about = {"rule": "leak", "measure": "Memory", "unit": "bytes", "condition": "above", "threshold": 1048576}
    happened("alert.firing", web, data={**about, "value": 2097152})
    happened("alert.resolved", web, data={**about, "seconds": 75, "why": "recovered"})
    text = viewer.get(EVENTS).content.decode()
    for wanted in (
        "exit code &lt;3&gt; (after 1m 15s)",
        "say &lt;hi&gt;",
        "signal:TERM, after 0.2 s, its process tree was killed",
        "http http://127.0.0.1:1/: connection refused",
        "Command",
        "leak: Memory 2.0 MB (above 1.0 MB)",
        "leak: recovered (after 1m 15s)",
    ):
        assert wanted in text


def test_events_can_be_filtered_by_type_severity_program_and_time(viewer: Client, program: MakeProgram) -> None:
    web, other = program("web"), program("other")
    happened("program.fatal", web)
    happened("program.fatal", other, at=timezone.now() - timedelta(days=3))
    assert types(viewer, "?type=program.fatal") == ["program.fatal"] * 2
    assert types(viewer, "?severity__exact=error") == ["program.fatal"] * 2
    assert types(viewer, f"?program={web.pk}&type=program.fatal") == ["program.fatal"]
    assert types(viewer, "?q=othe&severity__exact=error") == ["program.fatal"]
    assert types(viewer, "?since=day&type=program.fatal") == ["program.fatal"]
    assert types(viewer, "?since=week&type=program.fatal") == ["program.fatal"] * 2


@pytest.mark.parametrize(
    "query", ["?program=x", "?program=²", "?program=" + "9" * 5000, "?type=%27", "?p=99", "?since=%01", "?e=1"]
)
def test_invalid_parameters_cause_no_error(viewer: Client, program: MakeProgram, query: str) -> None:
    program("web")
    assert viewer.get(EVENTS + query).status_code in (200, 302)


def test_pages_of_events_are_never_counted(viewer: Client, program: MakeProgram) -> None:
    web = program("web")
    for _ in range(60):
        happened("program.started", web)
    with CaptureQueriesContext(connection) as asked:
        assert len(types(viewer, "")) == 50
    assert not [query["sql"] for query in asked if "COUNT(" in query["sql"] and "programevent" in query["sql"]]
    assert len(asked) <= 10
    assert len(types(viewer, "?p=2")) == 11


def test_an_event_of_a_removed_program_keeps_its_name(viewer: Client, program: MakeProgram) -> None:
    happened("program.started", program("web"))
    ProgramEvent.objects.update(program=None)
    assert "web" in viewer.get(EVENTS).content.decode()


def test_events_incidents_and_hosts_are_read_only(admin: Client, program: MakeProgram) -> None:
    incident = crashed(program("web"))
    addresses = {EVENTS: incident.event.pk, INCIDENTS: incident.pk, HOSTS: Host.objects.get().pk}
    for address, pk in addresses.items():
        assert admin.get(address + "add/").status_code == 403
        assert admin.post(f"{address}{pk}/delete/", {"post": "yes"}).status_code == 403
        assert admin.post(f"{address}{pk}/change/", {"meaning": "nothing"}).status_code == 403
        assert 'name="action"' not in admin.get(address).content.decode()
    assert Incident.objects.get().meaning == "killed by <SIGSEGV>"


def test_an_incident_shows_log_changes_and_metrics(viewer: Client, program: MakeProgram) -> None:
    web = program("web")
    change = {"number": 2, "actor": "alice", "at": timezone.now().isoformat(), "changes": {"command": ["a", "b"]}}
    crashed(web)
    one = crashed(
        web, log_lines=["loading", "<fault>"], changes_before=[change], metrics_before={"cpu_percent": 88.5}
    )
    text = viewer.get(f"{INCIDENTS}{one.pk}/change/").content.decode()
    for wanted in (
        "killed by &lt;SIGSEGV&gt;",
        "ended by SIGSEGV",
        "1m 15s",
        "&lt;fault&gt;",
        "alice",
        "Command",
        "88.5",
        "1 similar incident.",
    ):
        assert wanted in text


def test_an_incident_summarises_the_metrics_before_it(viewer: Client, program: MakeProgram) -> None:
    series = {
        "cpu_percent": [[1795670410, 0.5], [1795670420, 88.5], [1795670430, 3.0]],
        "memory_bytes": [[1795670410, 12_001_280], [1795670420, 12_582_912]],
    }
    one = crashed(program("web"), metrics_before=series)
    text = viewer.get(f"{INCIDENTS}{one.pk}/change/").content.decode()
    assert "<dd>max 88.5 %, last 3.0 %</dd>" in text
    assert "<dd>max 12.0 MB, last 12.0 MB</dd>" in text
    assert "1795670410" not in text


def test_a_missing_incident_is_not_found(viewer: Client, db: None) -> None:
    assert viewer.get(f"{INCIDENTS}1/change/").status_code == 302


def test_hosts_show_which_agents_are_alive(viewer: Client, host: Host) -> None:
    Host.objects.create(name="far", heartbeat_at=timezone.now() - timedelta(hours=1))
    Host.objects.create(name="new")
    text = viewer.get(HOSTS).content.decode()
    assert (text.count('data-tone="good"'), text.count('data-tone="error"')) == (1, 2)
    assert "never" in text
