"""The dead man's switch: its pings and the system check of its settings."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from core.models import Heartbeat
from programs import hosts
from webhooks import deadman, tasks

from .receiver import Receiver


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
def test_invalid_deadman_settings_are_reported(settings: Any, values: dict[str, Any], ids: list[str]) -> None:
    for name, value in values.items():
        setattr(settings, name, value)
    assert [found.id for found in deadman.check_settings(None)] == ids


@pytest.mark.usefixtures("outbox")
@pytest.mark.parametrize(
    ("agent_writes", "code", "noted"), [(True, 200, True), (True, 500, False), (False, 200, False)]
)
def test_pings_are_sent_only_while_the_agent_is_alive(
    receiver: Receiver, settings: Any, agent_writes: bool, code: int, noted: bool
) -> None:
    settings.DEADMAN_URL = receiver.script("/ping", code)
    host = hosts.this_host()
    host.heartbeat_at = timezone.now() if agent_writes else None
    host.save()
    tasks.deadman()
    assert len(receiver.received) == agent_writes
    assert Heartbeat.objects.filter(name="deadman").exists() is noted


@pytest.mark.usefixtures("outbox")
def test_a_failed_ping_is_only_a_warning(settings: Any) -> None:
    settings.DEADMAN_URL = "http://127.0.0.1:9/ping"
    host = hosts.this_host()
    host.heartbeat_at = timezone.now()
    host.save()
    tasks.deadman()
    assert not Heartbeat.objects.filter(name="deadman").exists()
