"""What the sender does for messages that people read: bundles, lateness, expiry, final answers. And bodies."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from programs import events
from programs.incidents import write_incident
from programs.models import ProgramEvent
from webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from webhooks.outbox import payload
from webhooks.tests import receiver as answers
from webhooks.tests.receiver import Receiver
from webhooks.tests.rig import attempts, endpoint, happen, only_delivery, pass_time, program, send

pytestmark = pytest.mark.usefixtures("outbox")


def chat(url: str, **values: Any) -> WebhookEndpoint:
    return endpoint(url, format="slack", **values)


def test_a_storm_within_the_window_becomes_one_message(receiver: Receiver) -> None:
    web = program()
    chat(receiver.url(), bundle_seconds=600, events=["program.crashed"])
    for code in range(1, 6):
        happen("program.crashed", web, exit_code=code)
    send()
    assert receiver.received == [], "the window is open"
    oldest = WebhookDelivery.objects.earliest("event__seq")
    WebhookDelivery.objects.filter(pk=oldest.pk).update(next_attempt_at=timezone.now())
    send()
    assert len(receiver.received) == 1
    assert "5" in receiver.received[0].body.decode()
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"delivered"}
    assert WebhookAttempt.objects.count() == 5


def test_a_bundle_that_fails_is_tried_again_together(receiver: Receiver) -> None:
    chat(receiver.script("/hook", 500, 200), bundle_seconds=10, events=["agent.*"])
    for _ in range(3):
        happen("agent.started")
    for _ in range(3):
        pass_time(70)
        send()
    assert len(receiver.received) == 2
    assert set(WebhookDelivery.objects.values_list("state", "attempt_count")) == {("delivered", 2)}


def test_a_window_with_one_event_is_an_ordinary_message(receiver: Receiver) -> None:
    chat(receiver.url("/single"), events=["agent.*"], name="single")
    chat(receiver.url("/bundle"), events=["agent.*"], name="bundle", bundle_seconds=5)
    happen("agent.started", host="nas")
    WebhookDelivery.objects.update(next_attempt_at=timezone.now())
    send()
    assert receiver.at("/single")[0].body == receiver.at("/bundle")[0].body


def test_a_late_message_says_so_and_a_signed_body_stays_as_it_was(receiver: Receiver) -> None:
    chat(receiver.script("/chat", 500, 200), name="chat", events=["agent.*"])
    endpoint(receiver.script("/signed", 500, 200), "signed", events=["agent.*"])
    happen("agent.started")
    send()
    past = timezone.now() - timedelta(minutes=8)
    WebhookDelivery.objects.update(next_attempt_at=timezone.now())
    before = ProgramEvent.objects.filter(type="agent.started").values_list("timestamp", flat=True).get()
    ProgramEvent.objects.filter(timestamp=before).update(timestamp=past)
    send()
    on_time, late = (one.body.decode() for one in receiver.at("/chat"))
    assert "late" not in on_time.lower() and "late" in late.lower()
    assert "late_seconds" not in receiver.at("/signed")[1].body.decode()


@pytest.mark.parametrize(("max_age", "state"), [(60, "expired"), (3600, "delivered"), (None, "delivered")])
def test_messages_that_would_come_too_late_expire_unsent(
    receiver: Receiver, max_age: int | None, state: str
) -> None:
    chat(receiver.script("/hook", 500, 200), max_age_seconds=max_age, events=["agent.*"])
    happen("agent.started")
    send()
    pass_time(120)
    send()
    assert only_delivery().state == state


def test_without_a_maximum_age_only_messages_expire_after_a_day(receiver: Receiver) -> None:
    chat(receiver.url("/chat"), name="chat", events=["agent.*"])
    endpoint(receiver.url("/signed"), "signed", events=["agent.*"])
    happen("agent.started")
    pass_time(86_500)
    send()
    assert receiver.at("/chat") == []
    assert len(receiver.at("/signed")) == 1


def test_a_service_can_say_that_an_address_is_no_more(receiver: Receiver) -> None:
    chat(receiver.script("/hook", answers.status(403, "invalid_token")), events=["agent.*"])
    happen("agent.started")
    send()
    assert only_delivery().state == "failed"
    assert attempts(only_delivery()) == [(1, "event", 403, "status")]


# --- Bodies ---------------------------------------------------------------------------------------------


def crashed(lines: list[str]) -> ProgramEvent:
    web = program(tags=["shop"], description="the shop")
    for _ in range(3):
        happen("program.restarted", web)
    facts = {"exit_code": 3, "exit_signal": None, "meaning": "it gave up", "uptime_seconds": 12.5}
    with transaction.atomic():
        event = events.record("program.crashed", program=web, process_index=0, data=facts)
        incident = write_incident(event, {**facts, "out_of_memory": True})
        incident.log_lines = lines
        incident.save()
    event.refresh_from_db(fields=["seq"])
    return event


def test_a_body_says_what_is_known_of_an_end() -> None:
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


def test_an_event_without_a_program_has_a_body_too() -> None:
    data = payload.build_one(happen("agent.lost", host="nas"))["data"]
    assert (data["program"], data["process"], data["host"]) == (None, None, "nas")
    assert "nas" in data["summary"]


def test_a_removed_program_is_still_named() -> None:
    web = program()
    event = happen("program.removed", web)
    web.delete()
    data = payload.build_one(ProgramEvent.objects.get(pk=event.pk))["data"]
    assert data["program"] == {"id": None, "name": "web"}


def test_a_body_that_would_be_too_big_is_thinned_out(receiver: Receiver) -> None:
    endpoint(receiver.url(), events=["program.crashed"])
    happen("program.crashed", program(description="d" * 9000), text="x" * 100_000)
    send()
    body = receiver.received[0].json
    assert body["truncated"] is True and len(receiver.received[0].body) < payload.LARGEST
    assert body["data"]["program"]["name"] == "web" and body["data"]["summary"]


@pytest.mark.parametrize(
    "data", [{"n": 10**40}, {"exit_code": [], "host": 7, "meaning": None}, {"uptime_seconds": "x"}]
)
def test_odd_data_reaches_the_receiver_or_is_explained_and_stops_nobody_else(
    receiver: Receiver, data: dict[str, Any]
) -> None:
    endpoint(receiver.url(), events=["program.crashed"])
    happen("program.crashed", **data)
    happen("program.crashed", exit_code=1)
    send()
    states = list(WebhookDelivery.objects.order_by("event__seq").values_list("state", flat=True))
    assert states[1] == "delivered" and states[0] in ("delivered", "blocked")
    assert WebhookAttempt.objects.count() == 2
