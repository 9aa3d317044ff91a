"""The worker with a real receiver: requests, responses, retries."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from asgiref.sync import sync_to_async
from django.utils import timezone
from standardwebhooks import Webhook

from webhooks import services
from webhooks.delivery.results import MAX_CRASHES
from webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from webhooks.tests import receiver as answers
from webhooks.tests.receiver import Receiver
from webhooks.tests.rig import attempts, endpoint, only_delivery, pass_time, program, record_event, send

pytestmark = pytest.mark.usefixtures("outbox")


def test_an_event_arrives_as_json_that_standardwebhooks_verifies(receiver: Receiver) -> None:
    saved = services.save_endpoint({"name": "ops", "url": receiver.url(), "events": ["*"]}, actor="tester")
    event = record_event("program.crashed", program(), exit_code=3, meaning="it gave up")
    send()
    (got,) = [one for one in receiver.received if one.json["id"] == event.uid]
    body = Webhook(saved.secret).verify(got.body, got.headers)
    assert (body["id"], body["type"], body["seq"]) == (event.uid, "program.crashed", event.seq)
    assert body["schema_version"] == 1
    assert body["data"]["process"]["exit_code"] == 3
    assert body["data"]["program"]["name"] == "web"
    assert "web" in body["data"]["summary"]
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("program-monitor/")


def test_a_signed_message_can_have_basic_authentication(receiver: Receiver) -> None:
    row = endpoint(receiver.script("/hook", answers.status(200, "Basic dXNlcjpwYXNz, dXNlcjpwYXNz")))
    secret = services.save_endpoint(
        {"settings": {"secret_headers": "Authorization: Basic dXNlcjpwYXNz"}}, actor="tester", endpoint=row
    ).endpoint.secret
    record_event("agent.started")
    send()
    (request,) = receiver.received
    assert request.headers["authorization"] == "Basic dXNlcjpwYXNz"
    Webhook(secret).verify(request.body, request.headers)
    assert "dXNlcjpwYXNz" not in only_delivery().attempts.get().response


def test_500_500_200_makes_three_attempts_with_one_id_and_the_scheduled_delays(receiver: Receiver) -> None:
    endpoint(receiver.script("/hook", 500, 500, 200))
    record_event("agent.started")
    gaps = []
    for _ in range(3):
        send()
        due = only_delivery().next_attempt_at
        gaps.append((due - timezone.now()).total_seconds() if due else None)
        pass_time(700)
    assert attempts(only_delivery()) == [
        (1, "event", 500, "status"),
        (2, "retry", 500, "status"),
        (3, "retry", 200, ""),
    ]
    assert len({one.id for one in receiver.received}) == 1
    assert gaps[0] == pytest.approx(63, abs=3.5) and gaps[1] == pytest.approx(630, abs=31)
    assert gaps[2] is None and only_delivery().state == "delivered"


def test_each_attempt_is_signed_with_its_own_timestamp(receiver: Receiver) -> None:
    saved = services.save_endpoint(
        {"name": "ops", "url": receiver.script("/hook", 500, 200), "events": ["*"]}, actor="tester"
    )
    record_event("agent.started")
    send()
    time.sleep(1.1)  # signatures have whole seconds
    WebhookDelivery.objects.update(next_attempt_at=timezone.now())
    send()
    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["webhook-timestamp"] < second.headers["webhook-timestamp"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    for one in (first, second):
        Webhook(saved.secret).verify(one.body, one.headers)


def test_nothing_is_sent_before_it_is_due(receiver: Receiver) -> None:
    endpoint(receiver.script("/hook", 500))
    record_event("agent.started")
    send()
    pass_time(50)
    send()
    assert len(receiver.received) == 1


def test_after_the_last_attempt_a_delivery_is_exhausted(receiver: Receiver) -> None:
    endpoint(receiver.script("/hook", 503), retry_schedule=[5])
    record_event("agent.started")
    for _ in range(4):
        send()
        pass_time(10)
    assert len(receiver.received) == 2
    assert (only_delivery().state, only_delivery().reason) == ("exhausted", "answered 503")


def test_410_disables_the_endpoint_cancels_pending_deliveries_and_notifies_others(receiver: Receiver) -> None:
    gone = endpoint(receiver.script("/gone", 500, 410), "gone")
    record_event("agent.started")
    send()
    record_event("agent.started")
    endpoint(receiver.url("/other"), "other", events=["webhook.*"])
    send()
    send()
    gone.refresh_from_db()
    assert (gone.enabled, gone.disabled_reason) == (False, "the receiver answered 410 Gone")
    states = sorted(WebhookDelivery.objects.filter(endpoint=gone).values_list("state", flat=True))
    assert states == ["cancelled", "failed"]
    (received,) = receiver.at("/other")
    assert received.json["type"] == "webhook.disabled"
    assert received.json["data"]["event"]["data"]["webhook"] == "gone"


def test_429_with_retry_after_pauses_the_whole_endpoint(receiver: Receiver) -> None:
    ops = endpoint(receiver.script("/hook", answers.status(429, Retry_After="90"), 200))
    record_event("agent.started")
    send()
    record_event("agent.lost")
    send()
    ops.refresh_from_db()
    assert ops.paused_until is not None
    assert (ops.paused_until - timezone.now()).total_seconds() == pytest.approx(90, abs=3)
    assert len(receiver.received) == 1
    pass_time(91)
    send()
    assert len(receiver.received) == 3


def test_retry_after_is_never_shorter_than_the_schedule(receiver: Receiver) -> None:
    endpoint(receiver.script("/hook", answers.status(503, Retry_After="1")))
    record_event("agent.started")
    send()
    due = only_delivery().next_attempt_at
    assert due is not None and due - timezone.now() > timedelta(seconds=55)


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(receiver: Receiver, code: int) -> None:
    endpoint(receiver.script("/hook", answers.status(code, Location="http://elsewhere.example/x")))
    record_event("agent.started")
    send()
    (attempt,) = only_delivery().attempts.all()
    assert len(receiver.received) == 1
    assert attempt.status == code and "elsewhere.example" in attempt.error


def test_a_receiver_can_stop_further_attempts(receiver: Receiver) -> None:
    endpoint(receiver.script("/hook", answers.status(500, webhook_delivery="abort-message")))
    record_event("agent.started")
    send()
    assert only_delivery().state == "failed"


def test_a_hanging_receiver_times_out_and_delays_no_other(receiver: Receiver) -> None:
    endpoint(receiver.script("/hang", answers.hang), "hang", timeout_seconds=2)
    endpoint(receiver.url("/ok"), "ok")
    record_event("agent.started")
    started = time.monotonic()
    send()
    ended = time.monotonic()
    assert ended - started < 15
    assert receiver.at("/ok")[0].at < ended - 1
    (hung,) = WebhookDelivery.objects.filter(endpoint__name="hang")
    assert attempts(hung) == [(1, "event", None, "timeout")]
    assert hung.attempts.get().duration_ms == pytest.approx(2000, abs=600)


def test_an_endless_response_is_a_delivery_and_is_sent_once(receiver: Receiver) -> None:
    endpoint(receiver.script("/drip", answers.drip), timeout_seconds=3)
    record_event("agent.started")
    send()
    assert attempts(only_delivery()) == [(1, "event", 200, "")]
    assert only_delivery().state == "delivered"
    pass_time(4000)
    send()
    assert len(receiver.at("/drip")) == 1


def test_five_refused_connections_open_the_circuit_and_one_a_minute_probes_it(receiver: Receiver) -> None:
    ops = endpoint("http://127.0.0.1:9/", max_concurrency=1)
    for _ in range(8):
        record_event("agent.started")
    send()
    ops.refresh_from_db()
    tried = WebhookDelivery.objects.filter(attempt_count__gt=0).count()
    assert (ops.connect_failures, tried) == (5, 5)
    pass_time(61)
    send()
    assert WebhookAttempt.objects.count() == 6


def test_a_response_closes_the_circuit(receiver: Receiver) -> None:
    ops = endpoint(receiver.url())
    past = timezone.now() - timedelta(seconds=1)
    WebhookEndpoint.objects.filter(pk=ops.pk).update(connect_failures=7, paused_until=past)
    for _ in range(6):
        record_event("agent.started")
    send()
    ops.refresh_from_db()
    assert (ops.connect_failures, ops.paused_until) == (0, None)
    assert len(receiver.received) == 6


def test_a_forbidden_address_is_blocked_and_not_retried(receiver: Receiver) -> None:
    ops = endpoint()
    ops.url = "http://169.254.169.254/latest/meta-data"
    ops.save(update_fields=["encrypted_url"])
    record_event("agent.started")
    send()
    ops.refresh_from_db()
    assert only_delivery().state == "blocked"
    assert attempts(only_delivery()) == [(1, "event", None, "blocked")]
    assert "169.254.169.254" in ops.last_error


def test_a_url_that_cannot_be_decrypted_blocks_only_its_own_deliveries(receiver: Receiver) -> None:
    broken = endpoint(name="broken")
    WebhookEndpoint.objects.filter(pk=broken.pk).update(encrypted_url="gAAAAA-nonsense")
    endpoint(receiver.url(), "fine")
    record_event("agent.started")
    send()
    assert WebhookDelivery.objects.get(endpoint=broken).state == "blocked"
    assert len(receiver.received) == 1


def test_secrets_in_a_response_are_not_stored(receiver: Receiver) -> None:
    url = receiver.script("/hooks/T0PSECRETTOKEN", answers.status(400, "no such hook: /hooks/T0PSECRETTOKEN\x00!"))
    endpoint(url)
    record_event("agent.started")
    send()
    stored = only_delivery().attempts.get().response
    assert "T0PSECRETTOKEN" not in stored and "\x00" not in stored and "no such hook" in stored


def test_no_more_than_max_concurrency_are_in_flight(receiver: Receiver) -> None:
    endpoint(receiver.script("/hang", answers.hang), max_concurrency=3, timeout_seconds=1)
    for _ in range(4):
        record_event("agent.started")
    send()
    first = sorted(one.at for one in receiver.received)
    assert len(first) == 4
    assert first[2] - first[0] < 0.5 and first[3] - first[0] > 0.8


def test_the_rate_limit_of_an_endpoint_is_kept(receiver: Receiver) -> None:
    endpoint(receiver.url(), rate_per_second=10)
    for _ in range(8):
        record_event("agent.started")
    send()
    times = [one.at for one in receiver.received]
    assert len(times) == 8
    assert times[-1] - times[0] >= 0.5


def test_a_disabled_endpoint_gets_nothing_and_keeps_its_pending_deliveries(receiver: Receiver) -> None:
    ops = endpoint(receiver.url())
    record_event("agent.started")
    services.save_endpoint({"enabled": False}, actor="tester", endpoint=ops)
    record_event("agent.started")
    send()
    assert receiver.received == []
    assert only_delivery().state == "pending"


def test_five_days_without_success_and_ten_failures_disable_the_endpoint(receiver: Receiver) -> None:
    ops = endpoint(receiver.script("/hook", 500), retry_schedule=[86_400])
    for _ in range(10):
        record_event("agent.started")
    send()
    pass_time(6 * 86_400)
    send()
    ops.refresh_from_db()
    assert (ops.enabled, ops.disabled_reason) == (False, "nothing was delivered for 5 days")


def test_a_test_is_a_single_attempt_to_that_endpoint_only(receiver: Receiver) -> None:
    ops = endpoint(receiver.script("/hook", 500))
    endpoint(receiver.url("/other"), "other")
    delivery = services.send_test(ops, actor="tester")
    send()
    delivery.refresh_from_db()
    assert (delivery.state, attempts(delivery)) == ("failed", [(1, "test", 500, "status")])
    assert receiver.at("/other") == []


def test_redelivery_keeps_the_id_and_restarts_the_retry_schedule(receiver: Receiver) -> None:
    endpoint(receiver.script("/hook", 500, 500, 200), retry_schedule=[5])
    record_event("agent.started")
    for _ in range(3):
        send()
        pass_time(10)
    services.redeliver(only_delivery(), actor="tester")
    send()
    assert only_delivery().state == "delivered"
    assert attempts(only_delivery())[-1] == (3, "manual", 200, "")
    assert len({one.id for one in receiver.received}) == 1


def test_a_redelivery_during_the_last_attempt_starts_a_new_round(receiver: Receiver) -> None:
    async def ask_again(request: Any) -> Any:
        await sync_to_async(services.redeliver)(await WebhookDelivery.objects.aget(), actor="tester")
        return await answers.status(500)(request)

    endpoint(receiver.script("/hook", ask_again, 200), retry_schedule=[])
    record_event("agent.started")
    send()
    assert attempts(only_delivery()) == [(1, "event", 500, "status"), (2, "manual", 200, "")]
    assert only_delivery().state == "delivered"


def test_a_delivery_of_a_crashed_worker_is_sent_again_after_its_lease(receiver: Receiver) -> None:
    endpoint(receiver.url())
    record_event("agent.started")
    until = timezone.now() + timedelta(seconds=20)
    WebhookDelivery.objects.update(lease_until=until, next_attempt_at=until, attempt_count=1, round_count=1)
    send()
    assert receiver.received == []
    pass_time(21)
    send()
    send("suspect")
    assert [one.id for one in receiver.received] == [only_delivery().pk]
    assert attempts(only_delivery()) == [(1, "event", None, "lost"), (2, "event", 200, "")]


def test_a_delivery_is_dead_after_three_worker_crashes(receiver: Receiver) -> None:
    endpoint(receiver.url())
    record_event("agent.started")
    for number in range(1, MAX_CRASHES + 1):
        past = timezone.now() - timedelta(seconds=1)
        WebhookDelivery.objects.update(lease_until=past, next_attempt_at=past, attempt_count=number)
        send()
    assert (only_delivery().state, only_delivery().crash_count) == ("dead", 3)
    assert [error for *_, error in attempts(only_delivery())] == ["lost"] * 3
    assert receiver.received == []


def test_suspect_deliveries_are_sent_one_at_a_time(receiver: Receiver) -> None:
    endpoint(receiver.script("/hang", answers.hang), timeout_seconds=1)
    for _ in range(2):
        record_event("agent.started")
    WebhookDelivery.objects.update(crash_count=1)
    send("suspect")
    times = [one.at for one in receiver.received]
    assert len(times) == 2 and times[1] - times[0] > 0.9


def test_an_endpoint_removed_during_a_request_leaves_nothing(receiver: Receiver) -> None:
    ops = endpoint(receiver.url())

    async def remove(request: web.Request) -> web.Response:
        await asyncio.to_thread(services.remove_endpoint, ops, actor="tester")
        return web.Response()

    receiver.scripts["/ok"] = [remove]
    record_event("agent.started")
    send()
    assert WebhookDelivery.objects.count() == 0
    assert len(receiver.received) == 1


def test_a_late_result_does_not_change_a_lease_of_another_worker(receiver: Receiver) -> None:
    endpoint(receiver.url())
    theirs = timezone.now() + timedelta(seconds=99)

    async def take_over(request: web.Request) -> web.Response:
        await asyncio.to_thread(WebhookDelivery.objects.update, lease_until=theirs)
        return web.Response(status=500)

    receiver.scripts["/ok"] = [take_over]
    record_event("agent.started")
    send()
    assert (only_delivery().state, only_delivery().lease_until) == ("pending", theirs)
