from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from programs import events
from programs.incidents import write_incident
from programs.models import Incident, ProgramEvent
from webhooks.models import WebhookAttempt, WebhookDelivery
from webhooks.outbox import payload
from webhooks.tests.receiver import Receiver
from webhooks.tests.rig import endpoint, program, record_event, send

pytestmark = pytest.mark.usefixtures("outbox")


def crashed(lines: list[str]) -> ProgramEvent:
    web = program(tags=["shop"], description="the shop")
    for _ in range(3):
        record_event("program.restarted", web)
    facts = {"exit_code": 3, "exit_signal": None, "meaning": "it gave up", "uptime_seconds": 12.5}
    with transaction.atomic():
        event = events.record("program.crashed", program=web, process_index=0, data=facts)
        incident = write_incident(event, {**facts, "out_of_memory": True})
        incident.log_lines = lines
        incident.save()
    event.refresh_from_db(fields=["seq"])
    return event


def test_a_crash_payload_has_all_known_facts() -> None:
    event = crashed([f"line {number}" for number in range(40)])
    body = payload.build_one(ProgramEvent.objects.select_related("program__host").get(pk=event.pk))
    data = body["data"]
    assert body["id"] == event.uid and body["seq"] == event.seq
    assert data["program"] == {"id": event.program_id, "name": "web", "description": "the shop", "tags": ["shop"]}
    expected = {"exit_code": 3, "meaning": "it gave up", "uptime_seconds": 12.5, "out_of_memory": True}
    assert expected.items() <= data["process"].items()
    assert (data["process"]["restarts_last_hour"], data["process"]["log_lines"][-1]) == (3, "line 39")
    assert len(data["process"]["log_lines"]) == 10
    assert data["link"].startswith("http") and "/incident/" in data["link"]
    assert json.loads(json.dumps(body)) == body


def test_a_permanent_failure_carries_the_log_of_the_last_crash() -> None:
    crash = crashed(["first", "the last words"])
    fatal = record_event("program.fatal", crash.program, reason="10 restarts within 10 min")
    data = payload.build_one(fatal)["data"]
    assert data["process"]["log_lines"] == ["first", "the last words"] and "/incident/" in data["link"]


def test_a_permanent_failure_without_a_crash_before_it_has_no_log() -> None:
    crash = crashed(["of an older crash"])
    Incident.objects.update(timestamp=timezone.now() - timedelta(minutes=5))
    fatal = record_event("program.fatal", crash.program, reason="no such file")
    assert "log_lines" not in payload.build_one(fatal)["data"]["process"]


def test_one_of_several_instances_is_named_in_the_summary() -> None:
    web = program()
    web.desired_instances = 3
    web.save()
    named = payload.build_one(record_event("program.crashed", web, exit_code=1))
    assert named["data"]["summary"].startswith("web (instance 0) crashed")
    alone = record_event("program.crashed", program("alone"), exit_code=1)
    assert payload.build_one(alone)["data"]["summary"].startswith("alone crashed")


@pytest.mark.parametrize(
    ("changes", "base"),
    [
        ({"PUBLIC_URL": "https://monitor.example/ops"}, "https://monitor.example/ops"),
        ({"CSRF_TRUSTED_ORIGINS": ["https://*.example", "https://m.example"]}, "https://m.example"),
        ({"BIND": "0.0.0.0:8000", "HOST_NAME": "nas"}, "http://nas:8000"),
        ({"BIND": "127.0.0.1:8000"}, "http://127.0.0.1:8000"),
    ],
)
def test_links_start_with_the_public_address(settings: Any, changes: dict[str, Any], base: str) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)
    link = payload.build_one(record_event("program.started", program()))["data"]["link"]
    assert link.startswith(f"{base}/admin/programs/program/")


def test_an_alert_links_to_the_alert() -> None:
    link = payload.build_one(record_event("alert.firing", program(), alert=7))["data"]["link"]
    assert link.endswith("/admin/metrics/alert/7/change/")


def test_log_lines_and_descriptions_leave_without_secrets() -> None:
    block = ["-----BEGIN KEY-----", *[f"MIIE{number}" for number in range(20)], "-----END KEY-----"]
    event = crashed([*block, "DB_PASSWORD=hunter2", "run --password hunter2", "ghp_" + "a1B2" * 9])
    event.program.description = "log in with password: hunter2"  # type: ignore[union-attr]
    text = json.dumps(payload.build_one(event))
    assert "hunter2" not in text and "a1B2" not in text and "MIIE" not in text


def test_an_event_without_a_program_has_a_payload() -> None:
    data = payload.build_one(record_event("agent.lost", host="nas"))["data"]
    assert (data["program"], data["process"], data["host"]) == (None, None, "nas")
    assert "nas" in data["summary"]


def test_a_removed_program_is_still_named() -> None:
    web = program()
    event = record_event("program.removed", web)
    web.delete()
    data = payload.build_one(ProgramEvent.objects.get(pk=event.pk))["data"]
    assert data["program"] == {"id": None, "name": "web"}


def test_an_oversized_payload_is_truncated(receiver: Receiver) -> None:
    endpoint(receiver.url(), events=["program.crashed"])
    record_event("program.crashed", program(description="d" * 9000), text="x" * 100_000)
    send()
    body = receiver.received[0].json
    assert body["truncated"] is True and len(receiver.received[0].body) < payload.MAX_BYTES
    assert body["data"]["program"]["name"] == "web" and body["data"]["summary"]


@pytest.mark.parametrize(
    "data", [{"n": 10**40}, {"exit_code": [], "host": 7, "meaning": None}, {"uptime_seconds": "x"}]
)
def test_odd_data_is_delivered_or_blocked_and_stops_no_other_delivery(
    receiver: Receiver, data: dict[str, Any]
) -> None:
    endpoint(receiver.url(), events=["program.crashed"])
    record_event("program.crashed", **data)
    record_event("program.crashed", exit_code=1)
    send()
    states = list(WebhookDelivery.objects.order_by("event__seq").values_list("state", flat=True))
    assert states[1] == "delivered" and states[0] in ("delivered", "blocked")
    assert WebhookAttempt.objects.count() == 2
