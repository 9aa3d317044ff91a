"""What a mute withholds about conditions that last, and what follows after it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from programs.models import Program, ProgramEvent
from webhooks import services
from webhooks.delivery.pump import Pump
from webhooks.models import WebhookDelivery, WebhookMute
from webhooks.outbox import writer
from webhooks.tests.receiver import Receiver
from webhooks.tests.rig import endpoint, pass_time, program, record_event, send

pytestmark = pytest.mark.django_db


def mute(**values: Any) -> WebhookMute:
    return services.mute(actor="tester", **{"ends_at": timezone.now() + timedelta(hours=1), **values})


def unmute() -> None:
    services.unmute(WebhookMute.objects.get(), actor="tester")


def end_mute() -> int:
    """Lets an hour pass and releases what was withheld."""
    WebhookMute.objects.update(ends_at=timezone.now())
    return writer.release_withheld(timezone.now())


def states(*types: str) -> list[tuple[str, str]]:
    found = WebhookDelivery.objects.order_by("event__seq").values_list("event__type", "state")
    return [pair for pair in found if not types or pair[0] in types]


def reasons() -> set[str]:
    return set(WebhookDelivery.objects.values_list("reason", flat=True))


def alert(kind: str, about: Program, rule: str = "cpu") -> ProgramEvent:
    return record_event(f"alert.{kind}", about, rule=rule)


def firing(about: Program) -> ProgramEvent:
    return alert("firing", about)


def resolved(about: Program) -> ProgramEvent:
    return alert("resolved", about)


def event(type_: str) -> Callable[[Program], ProgramEvent]:
    return lambda about: record_event(type_, about)


def lost(about: Program) -> ProgramEvent:
    return record_event("agent.lost", None, host="nas")


def back(about: Program) -> ProgramEvent:
    return record_event("agent.started", None, host="nas")


BEGINS = [firing, event("program.fatal"), event("program.unhealthy"), lost]
ENDS = [resolved, event("program.started"), event("program.healthy"), back]


@pytest.mark.parametrize("begin", BEGINS, ids=["alert", "fatal", "unhealthy", "agent"])
def test_what_outlasts_a_mute_is_sent_after_it(begin: Any) -> None:
    endpoint()
    mute(everything=True)
    begin(program())
    assert writer.release_withheld(timezone.now()) == 0, "the mute still applies"
    assert [state for _, state in states()][-1] == "cancelled"
    assert end_mute() == 1
    assert [state for _, state in states()][-1] == "pending"
    assert end_mute() == 0, "once"


@pytest.mark.parametrize(
    ("begin", "end"), [*zip(BEGINS, ENDS, strict=True)], ids=["alert", "fatal", "health", "agent"]
)
@pytest.mark.parametrize("events", [["*"], ["alert.firing", "program.fatal", "program.unhealthy", "agent.lost"]])
def test_what_began_and_ended_during_a_mute_is_not_sent(begin: Any, end: Any, events: list[str]) -> None:
    web = program()
    endpoint(events=events)
    mute(everything=True)
    begin(web)
    end(web)
    assert end_mute() == 0
    assert {state for _, state in states()} == {"cancelled"}


def test_only_the_end_of_the_same_condition_counts() -> None:
    web, db = program("web"), program("db")
    endpoint(events=["alert.*", "program.fatal"])
    mute(everything=True)
    alert("firing", web, "cpu")
    alert("resolved", web, "memory")
    alert("resolved", db, "cpu")
    record_event("program.fatal", web)
    record_event("program.started", db)
    assert end_mute() == 2
    assert states("alert.firing", "program.fatal") == [("alert.firing", "pending"), ("program.fatal", "pending")]


@pytest.mark.parametrize(
    ("begin", "end"), [(firing, resolved), (event("program.unhealthy"), event("program.healthy"))]
)
def test_a_resolution_is_withheld_if_its_beginning_was(begin: Any, end: Any) -> None:
    web = program()
    endpoint(events=["alert.*", "program.healthy", "program.unhealthy"])
    mute(everything=True)
    begin(web)
    unmute()  # the resolution comes before the next check
    end(web)
    assert {state for _, state in states()} == {"cancelled"}
    assert reasons() == {"muted", "its beginning was muted"}
    assert end_mute() == 0
    begin(web)
    end(web)
    assert [state for _, state in states()][2:] == ["pending", "pending"]


def test_a_resolution_during_a_mute_follows_if_its_alert_was_sent() -> None:
    web = program()
    endpoint(events=["alert.*", "program.healthy"])
    firing(web)
    mute(everything=True)
    resolved(web)
    record_event("program.healthy", web)
    assert end_mute() == 1
    assert states() == [
        ("alert.firing", "pending"), ("alert.resolved", "pending"), ("program.healthy", "cancelled"),
    ]  # fmt: skip


def test_of_several_alerts_during_a_mute_the_last_follows() -> None:
    web = program()
    endpoint(events=["alert.*"])
    firing(web)
    mute(everything=True)
    for tell in (resolved, firing, resolved, firing):
        tell(web)
    assert WebhookDelivery.objects.filter(withheld__isnull=False).count() == 1
    assert end_mute() == 1
    assert [state for _, state in states()] == ["pending", "cancelled", "cancelled", "cancelled", "pending"]


def test_each_endpoint_and_program_has_its_own_mute() -> None:
    web, db = program("web"), program("db")
    ops = endpoint(events=["program.fatal"])
    endpoint(name="other", events=["program.fatal"])
    mute(endpoint=ops, program=web)
    mute(program=db, ends_at=None)
    for each in (web, db):
        record_event("program.fatal", each)
    WebhookMute.objects.filter(program=web).delete()
    assert writer.release_withheld(timezone.now()) == 1
    pending = WebhookDelivery.objects.filter(state="pending").values_list("endpoint__name", "event__program__name")
    assert set(pending) == {("ops", "web"), ("other", "web")}


def test_nothing_follows_to_a_disabled_endpoint_or_about_a_removed_program() -> None:
    web, db = program("web"), program("db")
    ops = endpoint(events=["program.*"])
    mute(everything=True)
    record_event("program.fatal", web)
    record_event("program.removed", web)
    record_event("program.fatal", db)
    services.save_endpoint({"enabled": False}, actor="tester", endpoint=ops)
    assert end_mute() == 0


def test_what_a_person_sent_does_not_follow_again_and_its_resolution_is_sent() -> None:
    web = program()
    endpoint(events=["alert.*"])
    mute(everything=True)
    firing(web)
    services.redeliver(WebhookDelivery.objects.get(), actor="tester")
    unmute()
    resolved(web)
    assert states() == [("alert.firing", "pending"), ("alert.resolved", "pending")]


@pytest.mark.django_db(transaction=True)
def test_an_old_chat_message_arrives_after_a_mute_of_days(outbox: None, receiver: Receiver) -> None:
    endpoint(receiver.url(), format="slack", events=["program.fatal"])
    mute(ends_at=None, everything=True)
    record_event("program.fatal", program(), reason="no such file")
    pass_time(3 * 86_400)
    unmute()
    Pump().check(timezone.now())
    send()
    (message,) = receiver.received
    assert b"no such file" in message.body and b"late" in message.body
