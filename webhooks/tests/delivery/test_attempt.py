"""A single attempt, without database."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from core.http import Client, Policy, Tls
from core.tests.http_rig import certificate, serving
from webhooks import transports
from webhooks.delivery.attempt import AttemptOutcome, deliver
from webhooks.delivery.claims import ClaimedDelivery, DeliveryBatch, Destination
from webhooks.delivery.response_policy import DeliveryVerdict
from webhooks.tests.sample_bodies import CRASH


async def attempt_once(url: str, tls: Tls) -> AttemptOutcome:
    now = timezone.now()
    destination = Destination(id=1, name="ops", transport=transports.get("standard"), url=url, tls=tls)
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
