"""Failures: receivers, host names, certificates, the database, and changes during a request."""

from __future__ import annotations

import asyncio
import socket
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web
from django.db import OperationalError, connection
from django.utils import timezone

from core import bulk_sql
from core.tests.http_server import answering, certificate, free_port, serving, unknown
from webhooks import services
from webhooks.delivery import retention
from webhooks.delivery import worker as job
from webhooks.delivery.results import record
from webhooks.delivery.send_slots import PENDING_ENDPOINTS, QUEUE_FILTERS, TABLES, SendQueue
from webhooks.models import WebhookAttempt, WebhookDelivery
from webhooks.tests import receiver as answers
from webhooks.tests.receiver import Receiver
from webhooks.tests.rig import attempts, endpoint, only_delivery, pass_time, record_event, send

pytestmark = pytest.mark.usefixtures("outbox")


def named(url: str, name: str) -> str:
    return url.replace("127.0.0.1", name)


# --- Network --------------------------------------------------------------------------------------------


def test_dns_rebinding_to_a_metadata_address_is_blocked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.1"], ["169.254.169.254"]))
    endpoint(named(receiver.script("/hook", 500, 200), "rebinding.test"))
    record_event("agent.started")
    send()
    pass_time(70)
    send()
    assert attempts(only_delivery()) == [(1, "event", 500, "status"), (2, "retry", None, "blocked")]
    assert only_delivery().state == "blocked"
    assert "169.254.169.254" in only_delivery().reason
    assert len(receiver.received) == 1


def test_a_redirect_to_a_metadata_address_fails_and_names_its_target(receiver: Receiver) -> None:
    moved = answers.status(302, Location="http://169.254.169.254/latest/meta-data")
    endpoint(receiver.script("/hook", moved))
    record_event("agent.started")
    send()
    error = only_delivery().attempts.get().error
    assert "redirects (here to 169.254.169.254) are not followed" in error


def test_an_unknown_host_name_is_reported_and_retried(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint(named(receiver.url(), "gone.test"))
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    record_event("agent.started")
    send()
    tried = only_delivery().attempts.get()
    assert (tried.error_class, only_delivery().state) == ("dns", "pending")
    assert tried.error == "Cannot resolve gone.test (Name or service not known)."


async def test_an_untrusted_certificate_is_reported(tmp_path: Path) -> None:
    tls, _ = certificate(tmp_path, "localhost")
    async with serving(tls=tls) as server:
        await asyncio.to_thread(endpoint, server.url(host="localhost", scheme="https"))
        await asyncio.to_thread(record_event, "agent.started")
        await asyncio.to_thread(send)
    tried = await WebhookAttempt.objects.aget()
    assert tried.error_class == "tls"
    assert tried.error.startswith("The certificate is not accepted: self-signed certificate")


def test_a_closed_connection_is_reported_and_retried(receiver: Receiver) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    endpoint(receiver.script("/hook", hang_up, 200))
    record_event("agent.started")
    send()
    pass_time(70)
    send()
    assert [one[2:] for one in attempts(only_delivery())] == [(None, "reset"), (200, "")]
    assert "closed before a response arrived" in WebhookAttempt.objects.get(number=1).error


def test_a_response_of_100_mb_costs_the_worker_no_memory(receiver: Receiver) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100000000"})
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"a" * 100_000)
        return response

    endpoint(receiver.script("/flood", 200, flood))
    for _ in range(2):  # the first imports what every message needs
        before = psutil.Process().memory_info().rss
        record_event("agent.started")
        send()
    assert psutil.Process().memory_info().rss - before < 10_000_000
    newest = WebhookDelivery.objects.latest("created_at")
    assert (newest.state, len(newest.attempts.get().response)) == ("delivered", 4096)


# --- The database ---------------------------------------------------------------------------------------


def test_a_temporarily_full_disk_loses_no_result_and_repeats_no_message(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        endpoint(receiver.url(f"/{number}"), f"e{number}")
    full = 4

    def on_a_full_disk(*arguments: Any) -> None:
        nonlocal full
        full -= 1
        if full >= 0:
            record(*arguments)  # so that there is something to roll back
            raise OperationalError("database or disk is full")
        record(*arguments)

    monkeypatch.setattr(job, "record", on_a_full_disk)
    monkeypatch.setattr(job, "DATABASE_RETRY_SECONDS", 0.05)
    for _ in range(4):
        record_event("agent.started")
    send()
    assert full < 0
    assert set(WebhookDelivery.objects.values_list("state", "attempt_count")) == {("delivered", 1)}
    assert len(receiver.received) == WebhookAttempt.objects.count() == 12


def test_without_database_the_worker_gives_up_and_expired_leases_recover_the_deliveries(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise OperationalError("database or disk is full")

    endpoint(receiver.url())
    record_event("agent.started")
    with monkeypatch.context() as patched:
        patched.setattr(job, "record", fail)
        patched.setattr(job, "GIVE_UP_SECONDS", 1.0)
        with pytest.raises(OperationalError):
            send()
    pass_time(30)
    send()
    send(SendQueue.SUSPECT)
    assert only_delivery().state == "delivered"
    assert [one.id for one in receiver.received] == [only_delivery().pk] * 2


def test_pending_deliveries_of_an_unreachable_endpoint_do_not_delay_others(
    receiver: Receiver,
) -> None:
    endpoint(f"http://127.0.0.1:{free_port()}/", "dead")
    endpoint(receiver.url(), "fine", events=["agent.lost"])
    for _ in range(60):
        record_event("agent.started")
    send()
    tried = WebhookAttempt.objects.count()
    assert 5 <= tried <= 8, "until the circuit opened"
    record_event("agent.lost")
    send()
    assert len(receiver.received) == 1
    assert WebhookAttempt.objects.count() == tried + 1


def test_pending_endpoints_are_found_with_the_partial_index(receiver: Receiver) -> None:
    if connection.vendor != "sqlite":
        return  # PostgreSQL reads a small table as a whole
    plan = bulk_sql.fetch(
        "EXPLAIN QUERY PLAN " + PENDING_ENDPOINTS.format(**TABLES, queue=QUEUE_FILTERS[SendQueue.REGULAR]), ()
    )
    assert any("delivery_due" in line[-1] for line in plan), plan


def test_pruning_and_sending_work_at_the_same_time(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MAX_PER_ENDPOINT", 20)
    monkeypatch.setattr(retention, "BATCH", 7)
    endpoint(receiver.url(), max_concurrency=10)
    for _ in range(150):
        record_event("agent.started")
    sending = threading.Thread(target=send)
    sending.start()
    while sending.is_alive():
        retention.prune(timezone.now())
    retention.prune(timezone.now())
    assert len({one.id for one in receiver.received}) == len(receiver.received) == 150
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"delivered"}
    assert WebhookDelivery.objects.count() == 20


# --- Changes during a request ---------------------------------------------------------------------------


def test_a_changed_endpoint_gets_the_next_attempt_at_its_new_url(
    receiver: Receiver,
) -> None:
    ops = endpoint(receiver.url("/old"))

    async def change(request: web.Request) -> web.StreamResponse:
        values = {"url": receiver.url("/new"), "retry_schedule": [1]}
        await asyncio.to_thread(services.save_endpoint, values, endpoint=ops, actor="tester")
        return web.Response(status=500)

    receiver.scripts["/old"] = [change]
    record_event("agent.started")
    send()
    due = only_delivery().next_attempt_at
    assert due is not None and due - timezone.now() < timedelta(seconds=2), "by the new schedule"
    pass_time(5)
    send()
    assert [one.path for one in receiver.received] == ["/old", "/new"]
    assert only_delivery().state == "delivered"


def test_an_endpoint_disabled_during_a_request_gets_nothing_more(receiver: Receiver) -> None:
    ops = endpoint(receiver.url("/hook"), max_concurrency=1)

    async def disable_endpoint(request: web.Request) -> web.StreamResponse:
        await asyncio.to_thread(services.save_endpoint, {"enabled": False}, endpoint=ops, actor="tester")
        return web.Response(status=500)

    receiver.scripts["/hook"] = [disable_endpoint]
    for _ in range(3):
        record_event("agent.started")
    send()
    assert len(receiver.received) == 1
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"pending"}
