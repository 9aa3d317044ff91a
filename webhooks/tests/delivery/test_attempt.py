"""One try by itself: what of the endpoint goes into it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from core.http import Client, Policy, Tls
from core.tests.http_server import certificate, serving
from webhooks import transports
from webhooks.delivery.attempt import Outcome, deliver
from webhooks.delivery.claims import Batch, Destination, Item
from webhooks.delivery.response_policy import Verdict
from webhooks.tests.sample_bodies import CRASH


async def try_once(url: str, tls: Tls) -> Outcome:
    now = timezone.now()
    destination = Destination(id=1, name="ops", transport=transports.get("standard"), url=url, tls=tls)
    item = Item("msg_1", event=1, event_at=now, number=1, tries=1, trigger="event")
    async with Client(Policy()) as client:
        return await deliver(Batch(destination, (item,), now + timedelta(seconds=30), [CRASH]), client)


@pytest.mark.parametrize(("kind", "verdict"), [("own", "delivered"), ("none", "delivered"), ("system", "retry")])
async def test_an_endpoint_is_believed_by_its_own_certificates(tmp_path: Path, kind: str, verdict: str) -> None:
    context, path = certificate(tmp_path, "localhost")
    public = path.read_text().partition("-----BEGIN PRIVATE")[0]
    tls = {"own": Tls(authorities=public), "none": Tls(verify=False), "system": Tls()}[kind]
    async with serving(tls=context) as server:
        outcome = await try_once(server.url(host="localhost", scheme="https"), tls)
    assert outcome.verdict is Verdict(verdict)
    assert outcome.error_class == ("tls" if kind == "system" else "")
