"""What the system checks and the doctor say about webhooks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.doctor import Status
from core.models import Heartbeat
from webhooks import checks, doctor, services
from webhooks.models import WebhookEndpoint

from .rig import endpoint


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ({"DEADMAN_URL": ""}, []),
        ({"DEADMAN_URL": "", "DEADMAN_SECONDS": 0}, []),
        ({"DEADMAN_URL": "https://hc.example/ping/1"}, []),
        ({"DEADMAN_URL": "hc.example"}, ["webhooks.E001"]),
        ({"DEADMAN_URL": "http://169.254.169.254/"}, ["webhooks.E001"]),
        ({"DEADMAN_URL": "https://hc.example/", "DEADMAN_SECONDS": 0}, ["webhooks.E002"]),
        ({"DEADMAN_URL": "https://hc.example/", "DEADMAN_SECONDS": 1e9}, ["webhooks.E002"]),
    ],
)
def test_a_sign_of_life_that_cannot_work_is_told(settings: Any, values: dict[str, Any], ids: list[str]) -> None:
    for name, value in values.items():
        setattr(settings, name, value)
    assert [found.id for found in checks.deadman(None)] == ids


@pytest.mark.django_db
def test_without_endpoints_the_doctor_has_nothing_to_say() -> None:
    assert list(doctor.endpoints()) == []


@pytest.mark.django_db
def test_the_doctor_says_which_endpoints_take_nothing() -> None:
    row = endpoint()
    (found,) = doctor.endpoints()
    assert found.status is Status.OK
    WebhookEndpoint.objects.update(failing_since=timezone.now(), last_error="answered 500")
    (found,) = doctor.endpoints()
    assert (found.status, "ops does not arrive: answered 500" in found.summary) == (Status.WARN, True)
    services.switch_off(row, reason="nothing was delivered for 5 days", cancel_pending=False)
    (found,) = doctor.endpoints()
    assert found.id == "webhooks.enabled" and "for 5 days" in found.summary


@pytest.mark.django_db
@pytest.mark.parametrize(("age", "status"), [(None, Status.WARN), (3600, Status.WARN), (60, Status.OK)])
def test_the_doctor_says_when_a_sign_of_life_was_taken(settings: Any, age: int | None, status: Status) -> None:
    settings.DEADMAN_URL = "https://hc.example/"
    if age is not None:
        Heartbeat.objects.create(name="deadman", at=timezone.now() - timedelta(seconds=age))
    (found,) = doctor.deadman()
    assert found.status is status
    settings.DEADMAN_URL = ""
    assert list(doctor.deadman()) == []
