from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

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
