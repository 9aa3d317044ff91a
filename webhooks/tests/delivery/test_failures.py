"""What goes wrong on the way and around it: receivers, names, certificates, the database, and people's changes."""

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
from webhooks.delivery.send_slots import LANES, TABLES, WAITING, Lane
from webhooks.models import WebhookAttempt, WebhookDelivery
from webhooks.tests import receiver as answers
from webhooks.tests.receiver import Receiver
from webhooks.tests.rig import attempts, endpoint, happen, only_delivery, pass_time, send

pytestmark = pytest.mark.usefixtures("outbox")


def named(url: str, name: str) -> str:
    return url.replace("127.0.0.1", name)


# --- On the way -----------------------------------------------------------------------------------------


def test_a_name_that_leads_to_metadata_at_the_second_try_is_not_followed_there(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.1"], ["169.254.169.254"]))
    endpoint(named(receiver.script("/hook", 500, 200), "rebinding.test"))
    happen("agent.started")
    send()
    pass_time(70)
    send()
    assert attempts(only_delivery()) == [(1, "event", 500, "status"), (2, "retry", None, "blocked")]
    assert only_delivery().state == "blocked"
    assert "169.254.169.254" in only_delivery().reason
    assert len(receiver.received) == 1


def test_a_redirect_to_metadata_is_a_failure_that_names_where_it_wanted_to_lead(receiver: Receiver) -> None:
    moved = answers.status(302, Location="http://169.254.169.254/latest/meta-data")
    endpoint(receiver.script("/hook", moved))
    happen("agent.started")
    send()
    error = only_delivery().attempts.get().error
    assert "redirects (here to 169.254.169.254) are not followed" in error


def test_a_name_nobody_knows_is_said_in_words_and_tried_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint(named(receiver.url(), "gone.test"))
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    happen("agent.started")
    send()
    tried = only_delivery().attempts.get()
    assert (tried.error_class, only_delivery().state) == ("dns", "pending")
    assert tried.error == "Cannot resolve gone.test (Name or service not known)."


async def test_a_certificate_that_is_not_accepted_is_said_in_words(tmp_path: Path) -> None:
    tls, _ = certificate(tmp_path, "localhost")
    async with serving(tls=tls) as server:
        await asyncio.to_thread(endpoint, server.url(host="localhost", scheme="https"))
        await asyncio.to_thread(happen, "agent.started")
        await asyncio.to_thread(send)
    tried = await WebhookAttempt.objects.aget()
    assert tried.error_class == "tls"
    assert tried.error.startswith("The certificate is not accepted: self-signed certificate")


def test_a_receiver_that_hangs_up_is_said_in_words_and_tried_again(receiver: Receiver) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    endpoint(receiver.script("/hook", hang_up, 200))
    happen("agent.started")
    send()
    pass_time(70)
    send()
    assert [one[2:] for one in attempts(only_delivery())] == [(None, "reset"), (200, "")]
    assert "closed before a response arrived" in WebhookAttempt.objects.get(number=1).error


def test_an_answer_of_100_mb_costs_the_sender_no_memory(receiver: Receiver) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100000000"})
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"a" * 100_000)
        return response

    endpoint(receiver.script("/flood", 200, flood))
    for _ in range(2):  # the first brings in what every message needs
        before = psutil.Process().memory_info().rss
        happen("agent.started")
        send()
    assert psutil.Process().memory_info().rss - before < 10_000_000
    newest = WebhookDelivery.objects.latest("created_at")
    assert (newest.state, len(newest.attempts.get().response)) == ("delivered", 4096)


# --- The database ---------------------------------------------------------------------------------------


def test_a_disk_that_is_full_for_a_while_costs_neither_an_answer_nor_a_second_message(
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
        happen("agent.started")
    send()
    assert full < 0
    assert set(WebhookDelivery.objects.values_list("state", "attempt_count")) == {("delivered", 1)}
    assert len(receiver.received) == WebhookAttempt.objects.count() == 12


def test_a_database_that_never_comes_back_ends_the_job_and_the_leases_bring_everything_back(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise OperationalError("database or disk is full")

    endpoint(receiver.url())
    happen("agent.started")
    with monkeypatch.context() as patched:
        patched.setattr(job, "record", fail)
        patched.setattr(job, "END_SECONDS", 1.0)
        with pytest.raises(OperationalError):
            send()
    pass_time(30)
    send()
    send(Lane.SUSPECT)
    assert only_delivery().state == "delivered"
    assert [one.id for one in receiver.received] == [only_delivery().pk] * 2


def test_much_that_waits_for_a_dead_endpoint_is_neither_sent_nor_looked_at_for_the_others(
    receiver: Receiver,
) -> None:
    endpoint(f"http://127.0.0.1:{free_port()}/", "dead")
    endpoint(receiver.url(), "fine", events=["agent.lost"])
    for _ in range(60):
        happen("agent.started")
    send()
    tried = WebhookAttempt.objects.count()
    assert 5 <= tried <= 8, "then its circuit opened"
    happen("agent.lost")
    send()
    assert len(receiver.received) == 1
    assert WebhookAttempt.objects.count() == tried + 1


def test_what_is_looked_at_all_the_time_is_found_by_an_index_of_what_waits(receiver: Receiver) -> None:
    if connection.vendor != "sqlite":
        return  # a small table is read as a whole there, and rightly so
    plan = bulk_sql.fetch("EXPLAIN QUERY PLAN " + WAITING.format(**TABLES, lane=LANES[Lane.REGULAR]), ())
    assert any("delivery_due" in line[-1] for line in plan), plan


def test_forgetting_and_sending_get_along(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "KEEP_OF_ENDPOINT", 20)
    monkeypatch.setattr(retention, "BATCH", 7)
    endpoint(receiver.url(), max_concurrency=10)
    for _ in range(150):
        happen("agent.started")
    sending = threading.Thread(target=send)
    sending.start()
    while sending.is_alive():
        retention.prune(timezone.now())
    retention.prune(timezone.now())
    assert len({one.id for one in receiver.received}) == len(receiver.received) == 150
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"delivered"}
    assert WebhookDelivery.objects.count() == 20


# --- People ---------------------------------------------------------------------------------------------


def test_an_endpoint_that_is_changed_while_something_is_under_way_gets_the_next_try_at_its_new_address(
    receiver: Receiver,
) -> None:
    ops = endpoint(receiver.url("/old"))

    async def change(request: web.Request) -> web.StreamResponse:
        values = {"url": receiver.url("/new"), "retry_schedule": [1]}
        await asyncio.to_thread(services.save_endpoint, values, endpoint=ops, actor="tester")
        return web.Response(status=500)

    receiver.scripts["/old"] = [change]
    happen("agent.started")
    send()
    due = only_delivery().next_attempt_at
    assert due is not None and due - timezone.now() < timedelta(seconds=2), "by its new schedule"
    pass_time(5)
    send()
    assert [one.path for one in receiver.received] == ["/old", "/new"]
    assert only_delivery().state == "delivered"


def test_an_endpoint_switched_off_while_something_is_under_way_gets_nothing_more(receiver: Receiver) -> None:
    ops = endpoint(receiver.url("/hook"), max_concurrency=1)

    async def switch_off(request: web.Request) -> web.StreamResponse:
        await asyncio.to_thread(services.save_endpoint, {"enabled": False}, endpoint=ops, actor="tester")
        return web.Response(status=500)

    receiver.scripts["/hook"] = [switch_off]
    for _ in range(3):
        happen("agent.started")
    send()
    assert len(receiver.received) == 1
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"pending"}
