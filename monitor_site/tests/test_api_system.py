from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from core.access import Role
from core.models import AuditEntry, Heartbeat
from programs.models import Host
from programs.tests.api_rig import PROBLEM, Api, host, person

pytestmark = pytest.mark.django_db
HEALTH = "/api/system/health"


def detail_of(answer: Any) -> str:
    assert (answer.status_code, answer["Content-Type"]) == (503, PROBLEM)
    found: str = json.loads(answer.content)["detail"]
    return found


def test_health_needs_no_login() -> None:
    host()
    answer = Client().get(HEALTH)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_lost_agent_is_not_healthy() -> None:
    host(is_alive=False)
    assert detail_of(Client().get(HEALTH)) == "The agent is lost: it has sent no heartbeat for 20 s."


def test_without_an_agent_nothing_is_healthy() -> None:
    assert detail_of(Client().get(HEALTH)) == "The agent is lost: it has sent no heartbeat for 20 s."


def test_health_checks_the_agent_of_this_host() -> None:
    host("testhost", is_default=False)
    host("other", is_alive=False)
    assert Client().get(HEALTH).status_code == 200
    Host.objects.filter(name="testhost").delete()
    assert Client().get(HEALTH).status_code == 503


def test_an_unreachable_database_is_not_healthy() -> None:
    with patch.object(Host.objects, "filter", side_effect=OperationalError("unable to open /secret/path")):
        assert detail_of(Client().get(HEALTH)) == "The database cannot be reached."


def test_the_system_route_describes_host_agents_jobs_database_and_cache() -> None:
    host()
    host("far", is_alive=False, is_default=False)
    found = Api(Role.READ).get("/system")
    assert set(found) == {"version", "host", "agents", "jobs", "database", "cache"}
    assert [(agent["host"], agent["alive"]) for agent in found["agents"]] == [("far", False), ("testhost", True)]
    machine = found["host"]
    assert machine["name"] == "testhost"
    assert machine["cpu_count"] >= 1
    assert 0 < machine["memory"]["used"] < machine["memory"]["total"]
    assert 0 <= machine["disk"]["percent"] <= 100
    assert len(machine["load"]) == 3
    assert machine["boot_time"].endswith("Z")
    assert found["database"]["bytes"] > 10_000
    assert (found["cache"]["backend"], found["cache"]["entries"]) == ("file", 0)


@pytest.mark.parametrize(("seconds", "is_alive"), [(5, True), (120, False), (None, False)])
def test_jobs_are_alive_while_their_heartbeat_is_recent(seconds: int | None, is_alive: bool) -> None:
    if seconds is not None:
        Heartbeat.objects.create(name="jobs", at=timezone.now() - timedelta(seconds=seconds))
    assert Api(Role.READ).get("/system")["jobs"] == {"alive": is_alive, "queued": 0}


# --- The cache ------------------------------------------------------------------------------------------


def test_the_cache_route_returns_size_and_hits() -> None:
    found = Api(Role.READ).get("/system/cache")
    assert set(found) == {"backend", "available", "entries", "bytes", "kinds"}
    assert [kind["name"] for kind in found["kinds"]] == ["metrics"]


def test_administrators_can_clear_the_cache_and_that_is_audited() -> None:
    assert Api(Role.OPERATE).send("DELETE", "/system/cache").status_code == 403
    assert Api(Role.ADMIN).send("DELETE", "/system/cache").json() == {"cleared": 0}
    assert AuditEntry.objects.get(action="cache.clear").data["cleared"] == 0


def test_readers_can_open_the_cache_page(client: Client) -> None:
    assert client.get("/admin/cache/").status_code == 302
    client.force_login(person(Role.READ))
    answer = client.get("/admin/cache/")
    assert (answer.status_code, b"cache.sqlite3 in DATA_DIR" in answer.content) == (200, True)
