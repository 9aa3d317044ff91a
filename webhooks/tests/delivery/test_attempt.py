"""A single attempt, without database."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from core.http import VERIFIED, Client, Policy, Tls
from core.tests.http_server import certificate, serving
from webhooks import transports
from webhooks.delivery.attempt import AttemptOutcome, deliver
from webhooks.delivery.claims import ClaimedDelivery, DeliveryBatch, Destination
from webhooks.delivery.response_policy import DeliveryVerdict
from webhooks.tests.sample_bodies import CRASH


async def attempt_once(url: str, tls: Tls = VERIFIED, kind: str = "standard", **settings: str) -> AttemptOutcome:
    now = timezone.now()
    destination = Destination(1, "ops", transport=transports.get(kind), url=url, tls=tls, settings=settings)
    item = ClaimedDelivery("msg_1", event_id=1, event_at=now, number=1, round_number=1, trigger="event")
    async with Client(Policy()) as client:
        return await deliver(DeliveryBatch(destination, (item,), now + timedelta(seconds=30), [CRASH]), client)


@pytest.mark.parametrize(("kind", "verdict"), [("own", "delivered"), ("none", "delivered"), ("system", "retry")])
async def test_tls_settings_of_the_endpoint_apply(tmp_path: Path, kind: str, verdict: str) -> None:
    context, path = certificate(tmp_path, "localhost")
    public = path.read_text().partition("-----BEGIN PRIVATE")[0]
    tls = {"own": Tls(authorities=public), "none": Tls(verify=False), "system": Tls()}[kind]
    async with serving(tls=context) as server:
        outcome = await attempt_once(server.url(host="localhost", scheme="https"), tls)
    assert outcome.verdict is DeliveryVerdict(verdict)
    assert outcome.error_class == ("tls" if kind == "system" else "")


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"X-A: b\r\n" * 1000,
        b"Content-Length: 9\r\n\r\nabc",
        b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ],
    ids=["nothing", "many headers", "cut body", "doubled length"],
)
async def test_a_2xx_status_line_is_a_delivery_whatever_follows(rest: bytes) -> None:
    async with serving(b"HTTP/1.1 202 Accepted\r\n" + rest) as server:
        outcome = await attempt_once(server.url())
    assert (outcome.verdict, outcome.status, outcome.error) == (DeliveryVerdict.DELIVERED, 202, "")


@pytest.mark.parametrize(
    ("header", "body", "seconds"),
    [
        ("3.5", 1, 3.5),
        ("1", 3.5, 3.5),
        ("60", 5, 60),
        ("5", 60, 60),
        (None, 7, 7),
        ("9", None, 9),
        ("9", 1e9, 86_400),
    ],
)
async def test_of_header_and_body_the_longer_wait_counts(
    header: str | None, body: float | None, seconds: float
) -> None:
    content = json.dumps({"retry_after": body, "parameters": {"retry_after": body}}).encode()
    lines = [b"HTTP/1.1 429 Slow down", b"Content-Length: %d" % len(content)]
    lines += [b"Retry-After: " + header.encode()] if header else []
    async with serving(b"\r\n".join([*lines, b"", content])) as server:
        discord = await attempt_once(server.url(), kind="discord")
        telegram = await attempt_once(server.url("/bot1:a"), kind="telegram", chat_id="1")
    for outcome in (discord, telegram):
        assert (outcome.verdict, outcome.retry_after) == (DeliveryVerdict.THROTTLED, seconds)
