"""Chat messages: bundles, lateness, expiry, permanent responses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from programs.models import ProgramEvent
from webhooks import services
from webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from webhooks.tests import receiver as answers
from webhooks.tests.receiver import Receiver
from webhooks.tests.rig import attempts, endpoint, only_delivery, pass_time, program, record_event, send

pytestmark = pytest.mark.usefixtures("outbox")


def chat(url: str, **values: Any) -> WebhookEndpoint:
    return endpoint(url, format="slack", **values)


def test_events_within_the_bundle_time_become_one_message(receiver: Receiver) -> None:
    web = program()
    chat(receiver.url(), bundle_seconds=600, events=["program.crashed"])
    for code in range(1, 6):
        record_event("program.crashed", web, exit_code=code)
    send()
    assert receiver.received == [], "the bundle is still open"
    oldest = WebhookDelivery.objects.earliest("event__seq")
    WebhookDelivery.objects.filter(pk=oldest.pk).update(next_attempt_at=timezone.now())
    send()
    assert len(receiver.received) == 1
    assert "5" in receiver.received[0].body.decode()
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"delivered"}
    assert WebhookAttempt.objects.count() == 5


def test_a_bundle_that_one_message_cannot_show_is_continued_in_the_next(receiver: Receiver) -> None:
    row = chat(receiver.url(), bundle_seconds=600, events=["program.fatal"], max_concurrency=1)
    web = program()
    for number in range(30):
        record_event("program.fatal", web, reason=f"reason-{number:02} " + "x" * 200)
    WebhookDelivery.objects.update(next_attempt_at=timezone.now())
    send()
    texts = [one.body.decode() for one in receiver.received]
    assert 2 <= len(texts) < 15
    assert [sum(f"reason-{number:02}" in text for text in texts) for number in range(30)] == [1] * 30
    assert set(row.deliveries.values_list("state", "attempt_count", "round_count")) == {("delivered", 1, 1)}


def test_a_format_that_cannot_bundle_sends_singly(receiver: Receiver) -> None:
    row = endpoint(receiver.url(), events=["agent.*"])
    WebhookEndpoint.objects.filter(pk=row.pk).update(bundle_seconds=600)
    for _ in range(3):
        record_event("agent.started")
    WebhookDelivery.objects.update(next_attempt_at=timezone.now())
    send()
    assert len(receiver.received) == 3
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"delivered"}


def test_a_failed_bundle_is_retried_as_a_whole(receiver: Receiver) -> None:
    chat(receiver.script("/hook", 500, 200), bundle_seconds=10, events=["agent.*"])
    for _ in range(3):
        record_event("agent.started")
    for _ in range(3):
        pass_time(70)
        send()
    assert len(receiver.received) == 2
    assert set(WebhookDelivery.objects.values_list("state", "attempt_count")) == {("delivered", 2)}


def test_a_bundle_of_one_event_is_an_ordinary_message(receiver: Receiver) -> None:
    chat(receiver.url("/single"), events=["agent.*"], name="single")
    chat(receiver.url("/bundle"), events=["agent.*"], name="bundle", bundle_seconds=5)
    record_event("agent.started", host="nas")
    WebhookDelivery.objects.update(next_attempt_at=timezone.now())
    send()
    assert receiver.at("/single")[0].body == receiver.at("/bundle")[0].body


def test_a_late_chat_message_says_so_and_a_signed_body_stays_the_same(receiver: Receiver) -> None:
    chat(receiver.script("/chat", 500, 200), name="chat", events=["agent.*"])
    endpoint(receiver.script("/signed", 500, 200), "signed", events=["agent.*"])
    record_event("agent.started")
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
def test_messages_over_the_maximum_age_expire_unsent(receiver: Receiver, max_age: int | None, state: str) -> None:
    chat(receiver.script("/hook", 500, 200), max_age_seconds=max_age, events=["agent.*"])
    record_event("agent.started")
    send()
    pass_time(120)
    send()
    assert only_delivery().state == state


def test_without_a_maximum_age_only_chat_messages_expire_after_a_day(receiver: Receiver) -> None:
    chat(receiver.url("/chat"), name="chat", events=["agent.*"])
    endpoint(receiver.url("/signed"), "signed", events=["agent.*"])
    record_event("agent.started")
    pass_time(86_500)
    send()
    assert receiver.at("/chat") == []
    assert len(receiver.at("/signed")) == 1


def test_410_disables_a_chat_endpoint_too(receiver: Receiver) -> None:
    row = chat(receiver.script("/hook", answers.status(410, "channel_is_archived")), events=["agent.*"])
    record_event("agent.started")
    send()
    row.refresh_from_db()
    assert (row.enabled, row.disabled_reason) == (False, "the receiver answered 410 Gone")


def redeliver_all(row: WebhookEndpoint) -> None:
    services.redeliver(only_delivery(), actor="tester")


def recover_all(row: WebhookEndpoint) -> None:
    assert services.recover(row, since=timezone.now() - timedelta(days=9), actor="tester") == 1


def replay_all(row: WebhookEndpoint) -> None:
    only_delivery().delete()
    assert services.replay_missing(row, since=timezone.now() - timedelta(days=9), actor="tester") == 1


def resume(row: WebhookEndpoint) -> None:
    WebhookDelivery.objects.update(state="pending", next_attempt_at=timezone.now())
    services.disable_endpoint(row, reason="enough", cancel_pending=False)
    row.refresh_from_db()
    services.save_endpoint({"enabled": True}, actor="tester", endpoint=row, resume=True)


@pytest.mark.parametrize("ask", [redeliver_all, recover_all, replay_all, resume])
def test_the_age_of_what_a_person_sends_again_counts_from_then(receiver: Receiver, ask: Any) -> None:
    busy = answers.status(429, Retry_After="3.5")
    row = chat(receiver.script("/chat", busy, 500, 200), events=["agent.*"])
    record_event("agent.started")
    pass_time(5 * 86_400)
    WebhookDelivery.objects.update(state="expired", next_attempt_at=None)
    ask(row)
    for _ in range(3):
        send()
        pass_time(700)
    assert (len(receiver.received), only_delivery().state) == (3, "delivered")


def test_what_a_person_sends_again_expires_too_in_the_end(receiver: Receiver) -> None:
    chat(receiver.script("/chat", 500), events=["agent.*"], max_age_seconds=3600)
    record_event("agent.started")
    pass_time(5 * 86_400)
    redeliver_all(WebhookEndpoint.objects.get())
    send()
    assert only_delivery().state == "pending"
    pass_time(3700)
    send()
    assert (len(receiver.received), only_delivery().state) == (1, "expired")


def test_a_response_can_mean_that_the_url_is_no_longer_valid(receiver: Receiver) -> None:
    chat(receiver.script("/hook", answers.status(403, "invalid_token")), events=["agent.*"])
    record_event("agent.started")
    send()
    assert only_delivery().state == "failed"
    assert attempts(only_delivery()) == [(1, "event", 403, "status")]
