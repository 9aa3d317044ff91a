from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from core.doctor import Finding, Status
from core.locks import hold
from programs import services
from programs.doctor import agents
from programs.models import Host


@pytest.fixture(autouse=True)
def folder(db: None, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR, settings.RUN_DIR = tmp_path, tmp_path / "run"
    Host.objects.create(name=settings.HOST_NAME, is_default=True)


def only(seconds_ago: int | None) -> Finding:
    at = None if seconds_ago is None else timezone.now() - timedelta(seconds=seconds_ago)
    Host.objects.update(heartbeat_at=at)
    [finding] = agents()
    return finding


def test_an_agent_with_a_recent_heartbeat_is_alive() -> None:
    assert only(3).status is Status.OK


@pytest.mark.parametrize("seconds_ago", [None, 3600])
def test_a_lost_agent_without_programs_is_a_warning(seconds_ago: int | None) -> None:
    assert only(seconds_ago).status is Status.WARN


def test_a_lost_agent_fails_when_programs_should_run() -> None:
    services.save_definition({"name": "web", "command": "sleep 1"}, actor="alice")
    found = only(3600)
    assert found.status is Status.FAIL
    assert "not supervised" in found.summary


def test_an_agent_that_runs_but_cannot_write_fails() -> None:
    with hold("agent"):
        assert "cannot write" in only(3600).summary


def test_a_host_without_an_agent_is_a_warning(settings: Any) -> None:
    Host.objects.all().delete()
    [finding] = agents()
    assert finding.status is Status.WARN
    assert settings.HOST_NAME in finding.summary
