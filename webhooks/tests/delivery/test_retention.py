from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from django.utils import timezone

from core.retention import read_clock, request_permit
from webhooks import tasks
from webhooks.delivery import retention
from webhooks.models import WebhookDelivery
from webhooks.tests.rig import endpoint, finished

pytestmark = pytest.mark.django_db


def test_old_deliveries_are_deleted_and_pending_ones_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MAX_PER_ENDPOINT", 3)
    monkeypatch.setattr(retention, "BATCH", 2)
    endpoint()
    endpoint(name="old")
    now = timezone.now()
    for state in ("delivered", "failed", "pending", "delivered", "delivered", "delivered"):
        finished(state)
    WebhookDelivery.objects.filter(endpoint__name="old").update(created_at=now - timedelta(days=31))
    gone = retention.prune(now)
    left = list(WebhookDelivery.objects.order_by("event__seq").values_list("endpoint__name", "state"))
    assert left.count(("ops", "delivered")) == 3 and ("ops", "pending") in left
    assert [name for name, _ in left].count("old") == WebhookDelivery.objects.filter(
        endpoint__name="old", state="pending"
    ).count()
    assert gone > 0 and retention.prune(now) == 0


def test_no_delivery_is_deleted_by_a_clock_that_jumped(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint()
    finished("delivered")
    WebhookDelivery.objects.update(created_at=timezone.now() - timedelta(days=31))
    tasks.prune()
    assert WebhookDelivery.objects.count() == 1, "no agent has checked the clock yet"
    clock = read_clock()
    request_permit(clock, None, is_default_host=True)
    ahead = dataclasses.replace(clock, now=clock.now + timedelta(days=100))
    monkeypatch.setattr(tasks, "read_clock", lambda: ahead)
    tasks.prune()
    assert WebhookDelivery.objects.count() == 1
    monkeypatch.setattr(tasks, "read_clock", lambda: clock)
    tasks.prune()
    assert not WebhookDelivery.objects.exists()
