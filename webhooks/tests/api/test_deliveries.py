"""The API of deliveries: log, tests, redelivery, recovery, health."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.access import Role
from core.models import AuditEntry, Heartbeat
from programs.models import Host
from programs.tests.api_rig import Api, host
from webhooks import services
from webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from webhooks.tests.receiver import Receiver
from webhooks.tests.rig import endpoint, program, record_event, send

from .rig import fields_of

HOUR_AGO = timedelta(hours=1)


@pytest.fixture
def api() -> Api:
    return Api(Role.OPERATE)


def log(row: WebhookEndpoint, state: str = "delivered", attempts: int = 1) -> WebhookDelivery:
    """A delivery with its attempts, as outbox and worker write them."""
    now = timezone.now()
    made = WebhookDelivery.objects.create(
        endpoint=row, event=record_event("agent.started"), state=state, finished_at=now, attempt_count=attempts
    )
    for number in range(1, attempts + 1):
        WebhookAttempt.objects.create(
            delivery=made, number=number, trigger="event" if number == 1 else "retry", started_at=now,
            duration_ms=7, status=503, error_class="status", error="answered 503", response="busy",
            peer="10.0.0.7",
        )  # fmt: skip
    return made


# --- The log --------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_delivery_is_shown_with_its_event_and_all_attempts(api: Api) -> None:
    made = log(endpoint(events=["plugin.succeeded"]), "exhausted", attempts=2)
    shown = api.get(f"/webhooks/deliveries/{made.pk}")
    assert shown["event"]["id"] == made.event.uid and shown["event"]["type"] == "agent.started"
    assert (shown["state"], shown["webhook"]["name"], shown["next_attempt_at"]) == ("exhausted", "ops", None)
    assert shown["attempts"][1] == {
        "number": 2,
        "trigger": "retry",
        "started_at": shown["attempts"][1]["started_at"],
        "duration_ms": 7,
        "status": 503,
        "error_class": "status",
        "error": "answered 503",
        "response": "busy",
        "peer": "10.0.0.7",
    }


@pytest.mark.django_db
def test_during_a_request_the_lease_is_not_shown_as_the_next_attempt(api: Api) -> None:
    endpoint()
    record_event("agent.started")
    later = timezone.now() + timedelta(seconds=30)
    WebhookDelivery.objects.update(lease_until=later, next_attempt_at=later)
    (shown,) = api.get("/webhooks/deliveries")["items"]
    assert (shown["sending"], shown["next_attempt_at"]) == (True, None)


@pytest.mark.django_db
def test_the_log_is_filtered_by_state_type_program_and_time(api: Api) -> None:
    row, web = endpoint(), program()
    WebhookDelivery.objects.all().delete()
    record_event("program.crashed", web)
    record_event("agent.lost")
    WebhookDelivery.objects.filter(event__type="agent.lost").update(
        state="delivered", created_at=timezone.now() - HOUR_AGO
    )
    base = f"/webhooks/{row.pk}/deliveries"

    def types(query: str) -> list[str]:
        return [item["event"]["type"] for item in api.get(f"{base}?{query}")["items"]]

    assert types("") == ["program.crashed", "agent.lost"]
    assert types("ordering=created_at") == ["agent.lost", "program.crashed"]
    assert types("state=delivered,failed") == ["agent.lost"]
    assert types("type=program.*") == ["program.crashed"]
    assert types(f"program={web.pk}") == ["program.crashed"]
    assert types("search=WE") == ["program.crashed"]
    since = (timezone.now() - timedelta(minutes=1)).timestamp()
    assert types(f"since={since}") == ["program.crashed"]
    assert types(f"until={since}") == ["agent.lost"]


@pytest.mark.django_db
def test_the_log_can_be_filtered_by_endpoint(api: Api) -> None:
    one, two = endpoint(name="one"), endpoint(name="two")
    record_event("agent.started")
    assert api.get("/webhooks/deliveries?fields=id")["count"] == 2
    assert api.get(f"/webhooks/deliveries?webhook={two.pk}")["items"][0]["webhook"] == {
        "id": two.pk,
        "name": "two",
    }
    assert api.get(f"/webhooks/{one.pk}/deliveries")["count"] == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query", ["state=lost", "ordering=state", "fields=lease_until", "program=0", "since=soon"]
)
def test_the_log_refuses_invalid_parameters(api: Api, query: str) -> None:
    assert api("GET", f"/webhooks/deliveries?{query}")[0] == 422


@pytest.mark.django_db
def test_a_page_of_the_log_takes_one_query_for_all_attempts(api: Api, django_assert_max_num_queries: Any) -> None:
    row = endpoint(events=["plugin.succeeded"])
    for _ in range(5):
        log(row, attempts=3)
    with django_assert_max_num_queries(6):  # the token's two, its use, count, rows, attempts
        found = api.get("/webhooks/deliveries")
    assert [len(item["attempts"]) for item in found["items"]] == [3] * 5


@pytest.mark.django_db
@pytest.mark.parametrize("pk", ["msg_unknown", "%00", "ü", "x" * 300])
def test_an_unknown_delivery_is_not_found(api: Api, pk: str) -> None:
    for method, path in (("GET", ""), ("POST", "/redeliver")):
        assert api(method, f"/webhooks/deliveries/{pk}{path}")[0] == 404


# --- Sending --------------------------------------------------------------------------------------------


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the worker as soon as a request waits for it."""
    started: list[threading.Thread] = []

    def sleep(seconds: float) -> None:
        if not started:
            thread = threading.Thread(target=send)
            started.append(thread)
            thread.start()
            thread.join()

    async def awaited(seconds: float) -> None:
        sleep(seconds)

    monkeypatch.setattr("webhooks.delivery_wait.asyncio.sleep", awaited)


@pytest.mark.usefixtures("outbox", "jobs")
def test_a_test_returns_the_response(receiver: Receiver) -> None:
    row = endpoint(receiver.script("/hook", 204))
    status, answer = Api(Role.OPERATE)("POST", f"/webhooks/{row.pk}/test")
    assert status == 200, answer
    assert answer["detail"].startswith("Delivered: answered 204 in ")
    (attempt,) = answer["delivery"]["attempts"]
    assert (attempt["trigger"], attempt["status"], attempt["peer"]) == ("test", 204, "127.0.0.1")
    assert receiver.at("/hook")[0].json["type"] == "webhook.test"


@pytest.mark.usefixtures("outbox", "jobs")
def test_a_failed_test_is_not_retried_and_returns_the_error(receiver: Receiver) -> None:
    row = endpoint(receiver.script("/hook", 500))
    status, answer = Api(Role.OPERATE)("POST", f"/webhooks/{row.pk}/test")
    assert (status, answer["delivery"]["state"]) == (200, "failed")
    assert "answered 500" in answer["detail"]


@pytest.mark.usefixtures("outbox", "jobs")
def test_redelivery_uses_the_same_id_and_returns_the_next_attempt(receiver: Receiver) -> None:
    row = endpoint(receiver.script("/hook", 500), events=["plugin.succeeded"])
    made = log(row, "exhausted")
    status, answer = Api(Role.OPERATE)("POST", f"/webhooks/deliveries/{made.pk}/redeliver")
    assert (status, answer["delivery"]["state"]) == (200, "pending")
    assert answer["delivery"]["next_attempt_at"] is not None and "will be retried" in answer["detail"]
    assert [attempt["trigger"] for attempt in answer["delivery"]["attempts"]] == ["event", "manual"]
    assert receiver.at("/hook")[0].id == made.pk


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("agent", "jobs_at", "said"),
    [
        (False, None, "sends no heartbeat"),
        (True, None, "no job has finished so far"),
        (True, timedelta(minutes=5), "no job has finished since"),
        (True, timedelta(), "it is queued"),
    ],
)
def test_an_unsent_test_says_what_is_not_running(
    api: Api, agent: bool, jobs_at: timedelta | None, said: str
) -> None:
    Host.objects.all().delete()
    host(is_alive=agent)
    if jobs_at is not None:
        Heartbeat.objects.create(name="jobs", at=timezone.now() - jobs_at)
    status, answer = api("POST", f"/webhooks/{endpoint().pk}/test?wait=0")
    assert (status, answer["delivery"]["state"]) == (202, "pending")
    assert answer["detail"].startswith("Not sent yet: ") and said in answer["detail"]


@pytest.mark.django_db
def test_an_unsent_test_to_a_paused_endpoint_says_until_when(api: Api) -> None:
    host()
    Heartbeat.objects.create(name="jobs", at=timezone.now())
    row = endpoint()
    WebhookEndpoint.objects.update(paused_until=timezone.now() + HOUR_AGO)
    assert "is paused until" in api("POST", f"/webhooks/{row.pk}/test?wait=0")[1]["detail"]


@pytest.mark.django_db
def test_sending_to_a_disabled_endpoint_is_refused(api: Api) -> None:
    row = endpoint(enabled=False)
    made, since = log(row, "failed"), {"since": "2026-01-01T00:00:00Z"}
    for path, body in (
        (f"/webhooks/{row.pk}/test", None),
        (f"/webhooks/deliveries/{made.pk}/redeliver", None),
        (f"/webhooks/{row.pk}/recover", since),
        (f"/webhooks/{row.pk}/replay", since),
    ):
        status, answer = api("POST", path, body)
        assert status == 409 and "is disabled" in answer["detail"], path


@pytest.mark.django_db
def test_recover_counts_and_sends_failed_deliveries(api: Api) -> None:
    row = endpoint(events=["plugin.succeeded"])
    for state in ("failed", "exhausted", "delivered"):
        log(row, state)
    body = {"since": (timezone.now() - HOUR_AGO).isoformat()}
    path = f"/webhooks/{row.pk}/recover"
    assert api("POST", path, {**body, "dry_run": True}) == (200, {"count": 2, "dry_run": True})
    assert not WebhookDelivery.objects.filter(state="pending").exists()
    assert api("POST", path, body) == (200, {"count": 2, "dry_run": False})
    assert WebhookDelivery.objects.filter(state="pending", next_trigger="manual").count() == 2
    assert AuditEntry.objects.get(action="webhook.recovered").data["count"] == 2


@pytest.mark.django_db
def test_replay_counts_and_sends_missing_events(api: Api) -> None:
    record_event("agent.started")
    row = endpoint(events=["agent.*"])
    record_event("agent.started")
    body, path = {"since": (timezone.now() - HOUR_AGO).isoformat()}, f"/webhooks/{row.pk}/replay"
    assert api("POST", path, {**body, "dry_run": True}) == (200, {"count": 1, "dry_run": True})
    assert WebhookDelivery.objects.count() == 1
    assert api("POST", path, body) == (200, {"count": 1, "dry_run": False})
    assert WebhookDelivery.objects.filter(state="pending").count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize("body", [{}, {"since": "soon"}, {"since": "2026-01-01", "x": 1}, {"since": None}])
def test_since_is_required(api: Api, body: dict[str, Any]) -> None:
    status, answer = api("POST", f"/webhooks/{endpoint().pk}/recover", body)
    assert status == 422 and fields_of(answer)


@pytest.mark.django_db
def test_health_has_the_figures_and_counts_of_24_hours(api: Api) -> None:
    row = endpoint(events=["plugin.succeeded"])
    log(row)
    log(row, "failed")
    shown = api.get(f"/webhooks/{row.pk}/health")
    assert (shown["success_ratio"], shown["duration_ms"], shown["counts"]["failed"]) == (0.5, {"p95": 7}, 1)
    assert (shown["hours"], len(shown["strip"]), shown["circuit"]["state"]) == (24, 24, "closed")
    (listed,) = api.get("/webhooks/health?fields=id,name,success_ratio")["items"]
    assert listed == {"id": row.pk, "name": "ops", "success_ratio": 0.5}


@pytest.mark.django_db
def test_the_health_of_a_page_takes_three_queries(api: Api, django_assert_max_num_queries: Any) -> None:
    for number in range(4):
        log(endpoint(name=f"ops {number}", events=["plugin.succeeded"]))
    with django_assert_max_num_queries(8):
        assert api.get("/webhooks/health")["count"] == 4


@pytest.mark.django_db
def test_the_health_of_a_disabled_endpoint_has_the_reason(api: Api) -> None:
    row = endpoint()
    services.disable_endpoint(row, reason="the receiver answered 410 Gone", cancel_pending=True)
    shown = api.get(f"/webhooks/{row.pk}/health")
    assert (shown["condition"], shown["disabled_reason"]) == ("off", "the receiver answered 410 Gone")
