"""The outbox: deliveries are written with the event, for matching endpoints, with few queries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from programs import events
from programs.models import ProgramEvent
from webhooks import services
from webhooks.models import WebhookDelivery, WebhookEndpoint
from webhooks.outbox import writer
from webhooks.tests.rig import endpoint, program, record_event

pytestmark = pytest.mark.django_db


class UndoneError(Exception):
    pass


def deliveries(name: str = "ops") -> list[str]:
    rows = WebhookDelivery.objects.filter(endpoint__name=name).order_by("event__seq")
    return list(rows.values_list("event__type", flat=True))


def test_a_rollback_leaves_neither_event_nor_delivery() -> None:
    endpoint()
    with pytest.raises(UndoneError), transaction.atomic():
        record_event()
        assert WebhookDelivery.objects.count() == 1
        raise UndoneError
    assert (ProgramEvent.objects.count(), WebhookDelivery.objects.count()) == (0, 0)


def test_a_delivery_begins_pending_with_an_id_without_dots() -> None:
    endpoint()
    event = record_event()
    delivery = WebhookDelivery.objects.get()
    assert (delivery.event, delivery.state, delivery.next_trigger) == (event, "pending", "event")
    assert delivery.id.startswith("msg_") and "." not in delivery.id
    assert delivery.next_attempt_at is not None and delivery.next_attempt_at <= timezone.now()


def test_alert_resolved_goes_to_endpoints_that_got_the_alert() -> None:
    endpoint(min_severity="warning")
    record_event("alert.resolved", ended_severity="warning")
    record_event("alert.resolved", ended_severity="info")
    record_event("program.running")
    assert deliveries() == ["alert.resolved"]


def test_only_matching_events_create_a_delivery() -> None:
    game, bot = program("game", tags=["fun"]), program("bot")
    endpoint(events=["program.crashed", "agent.*"], min_severity="warning")
    endpoint(name="fun", tags=["fun"], events=["program.crashed"])
    endpoint(name="bot", programs=[bot.pk], events=["program.crashed"])
    endpoint(name="three", conditions={"attr": "data.exit_code", "value": 3})
    record_event("program.crashed", game, exit_code=3)
    record_event("program.running", game)
    record_event("agent.lost")
    record_event("agent.started")
    assert deliveries() == ["program.crashed", "agent.lost"]
    assert deliveries("fun") == ["program.crashed"]
    assert deliveries("bot") == []
    assert deliveries("three") == ["program.crashed"]


def test_disabled_endpoints_get_no_deliveries() -> None:
    endpoint(enabled=False)
    record_event()
    assert deliveries() == []


def test_changes_apply_to_the_next_event_even_in_the_same_transaction() -> None:
    with transaction.atomic():
        record_event("agent.started")
        ops = endpoint(events=["agent.*"])
        record_event("agent.lost")
        services.save_endpoint({"events": ["program.*"]}, actor="tester", endpoint=ops)
        record_event("agent.started")
        services.remove_endpoint(ops, actor="tester")
        record_event("agent.lost")
    assert WebhookDelivery.objects.count() == 0
    assert ProgramEvent.objects.filter(type__startswith="agent.").count() == 4


def test_a_rolled_back_change_has_no_effect() -> None:
    ops = endpoint(events=["agent.*"])
    with pytest.raises(UndoneError), transaction.atomic():
        services.save_endpoint({"events": ["program.*"]}, actor="tester", endpoint=ops)
        record_event("agent.started")
        raise UndoneError
    record_event("agent.lost")
    assert deliveries() == ["agent.lost"]


@pytest.mark.django_db(transaction=True)
def test_another_process_sees_the_change_with_its_next_transaction() -> None:
    ops = endpoint(events=["agent.*"])
    record_event("agent.started")
    WebhookEndpoint.objects.filter(pk=ops.pk).update(
        events=["program.*"], revision=10**9
    )  # as another process would
    record_event("agent.lost")
    WebhookEndpoint.objects.all().delete()
    record_event("agent.lost")
    assert WebhookDelivery.objects.count() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("wanted", [False, True])
def test_many_events_in_a_transaction_cost_no_further_queries_to_match(
    django_assert_num_queries: Any, wanted: bool
) -> None:
    web = program()
    for number in range(3):
        endpoint(name=f"e{number}", events=["program.started"] if wanted else ["agent.*"])

    def storm(size: int) -> None:
        with transaction.atomic():
            for pid in range(size):
                events.record("program.started", program=web, process_index=0, data={"pid": pid})

    own, once, begin = 3 + wanted, 2, 2
    storm(1)
    with django_assert_num_queries(begin + once + 50 * own):
        storm(50)
    assert WebhookDelivery.objects.count() == (51 * 3 if wanted else 0)


@pytest.mark.django_db(transaction=True)
def test_the_pump_is_woken_up_once_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    endpoint(events=["agent.*"])
    monkeypatch.setattr(writer, "ring", rung.append)
    with transaction.atomic():
        for _ in range(5):
            record_event("agent.started")
        assert rung == []
    assert rung == ["outbox"]
    record_event("program.stopped")
    assert rung == ["outbox"], "no endpoint matches that event"


@pytest.mark.parametrize("of", ["endpoint", "program", "all"])
def test_a_muted_event_gets_a_cancelled_delivery(of: str) -> None:
    web, ops = program(), endpoint(events=["program.crashed"])
    muted: dict[str, dict[str, Any]] = {
        "endpoint": {"endpoint": ops},
        "program": {"program": web},
        "all": {"everything": True},
    }
    mute = services.mute(actor="tester", reason="moving house", **muted[of])
    record_event("program.crashed", web)
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.reason) == ("cancelled", "muted: moving house")
    services.unmute(mute, actor="tester")
    record_event("program.crashed", web)
    assert WebhookDelivery.objects.filter(state="pending").count() == 1


def test_a_late_event_is_muted_if_it_happened_during_the_mute() -> None:
    endpoint(events=["agent.*"])
    now = timezone.now()
    services.mute(actor="tester", starts_at=now - timedelta(hours=2), ends_at=now - timedelta(hours=1))
    record_event("agent.started")
    with transaction.atomic():  # recorded late by an agent without database
        events.record("agent.lost", at=now - timedelta(minutes=90))
    states = WebhookDelivery.objects.order_by("event__seq").values_list("state", flat=True)
    assert list(states) == ["pending", "cancelled"]


def test_a_delivery_to_a_bundling_endpoint_is_due_after_the_bundle_time() -> None:
    endpoint(format="slack", bundle_seconds=30)
    record_event("agent.started")
    due = WebhookDelivery.objects.latest("created_at").next_attempt_at
    assert due is not None
    assert (due - timezone.now()).total_seconds() == pytest.approx(30, abs=2)


def odd(value: Any) -> Callable[[], ProgramEvent]:
    return lambda: record_event("program.crashed", None, text=value, exit_code=value)


@pytest.mark.parametrize("value", ["\x01\ud7ff", 10**30, {"deep": [[]]}, None, "x" * 200_000], ids=range(5))
def test_odd_event_data_does_not_prevent_the_event_from_being_written(value: Any) -> None:
    endpoint(conditions={"and": [{"attr": "data.exit_code", "op": "gt", "value": 1}]})
    endpoint(name="text", conditions={"attr": "data.text", "op": "contains", "value": "x"})
    odd(value)()
    assert ProgramEvent.objects.filter(type="program.crashed").count() == 1
