"""Findings of the doctor about webhooks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.doctor import Status
from core.models import Heartbeat
from webhooks import doctor, services
from webhooks.models import WebhookEndpoint

from .rig import endpoint


@pytest.mark.django_db
def test_the_doctor_reports_nothing_without_endpoints() -> None:
    assert list(doctor.endpoints()) == []


@pytest.mark.django_db
def test_the_doctor_reports_failing_and_disabled_endpoints() -> None:
    row = endpoint()
    (found,) = doctor.endpoints()
    assert found.status is Status.OK
    WebhookEndpoint.objects.update(failing_since=timezone.now(), last_error="answered 500")
    (found,) = doctor.endpoints()
    assert (found.status, "webhook ops fail: answered 500" in found.summary) == (Status.WARN, True)
    services.disable_endpoint(row, reason="nothing was delivered for 5 days", cancel_pending=False)
    (found,) = doctor.endpoints()
    assert found.id == "webhooks.enabled" and "for 5 days" in found.summary


@pytest.mark.django_db
@pytest.mark.parametrize(("age", "status"), [(None, Status.WARN), (3600, Status.WARN), (60, Status.OK)])
def test_the_doctor_reports_the_last_successful_ping(settings: Any, age: int | None, status: Status) -> None:
    settings.DEADMAN_URL = "https://hc.example/"
    if age is not None:
        Heartbeat.objects.create(name="deadman", at=timezone.now() - timedelta(seconds=age))
    (found,) = doctor.deadman()
    assert found.status is status
    settings.DEADMAN_URL = ""
    assert list(doctor.deadman()) == []
