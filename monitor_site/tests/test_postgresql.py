"""The whole monitor on PostgreSQL and Redis with a second host."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis

from core.tests.servers import are_there, postgresql, redis_server
from webhooks.tests.receiver import Receiver, status

from .installation import Installation, free_port, wait_until
from .test_web import Web, opened

pytestmark = pytest.mark.skipif(
    not are_there() and "CI" not in os.environ, reason="no PostgreSQL or no Redis on this machine"
)
ACCOUNT = {"DJANGO_SUPERUSER_USERNAME": "root", "DJANGO_SUPERUSER_PASSWORD": "correct horse battery"}
QUICK = {"SAMPLE_SECONDS": "0.5", "RECORD_SECONDS": "1", "CACHE_METRICS_SECONDS": "600"}
LONG_AGO = 1_600_000_020
OLD_POINT = (
    "INSERT INTO metrics_resourceusage (period, program_id, timestamp, count, covered_ms, cpu_ms, cpu_min,"
    " cpu_max, cpu_last, memory_sum, memory_min, memory_max, memory_last, threads_max)"
    " VALUES (%(at)s, 1, %(at)s, 1, 1000, 1, 1, 1, 1, 1, 1, 1, 1, 1)"
)
OLD_POINTS = "SELECT 1 FROM metrics_resourceusage WHERE timestamp = %(at)s"
STREAMS = {"follow", "stream"}
REFUSALS = {400, 404, 405, 422}
BELLS = {b"monitor:bell:agent", b"monitor:bell:web"}
ONLY_WITH_THE_SECRET = "sh -c 'test \"$TOKEN\" = s3cret && exec sleep 120'"


class Site:
    """An installation on PostgreSQL and Redis, and requests to it."""

    def __init__(self, installation: Installation, database: str, redis_url: str) -> None:
        self.installation = installation
        self.redis = redis.Redis.from_url(redis_url)
        self.database = psycopg.connect(database, autocommit=True)
        installation.environment |= {**QUICK, "DATABASE_URL": database, "REDIS_URL": redis_url}
        installation.run("prepare", **ACCOUNT).check_returncode()
        made = installation.run("token", "create", "--user", "root", "--scope", "admin")
        (self.token,) = re.findall(r"pm_[0-9a-z]{8}_\S{43}", made.stdout)
        self.port = free_port()

    def start(self) -> psutil.Popen:
        arguments = ["manage.py", "serve", "--stop-programs", "--bind", f"127.0.0.1:{self.port}"]
        serve = self.installation.start(*arguments)
        wait_until(lambda: "Ctrl-C" in self.installation.printed())
        self.web = Web(self.installation, serve, self.port, self.token)
        return serve

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        answer, content = self.web.ask(method, path, sent, **{"Content-Type": "application/json"})
        assert answer.status < 300, content
        return json.loads(content) if content else None

    def define(self, name: str, command: str, **values: Any) -> int:
        identifier: int = self.ask("POST", "/api/programs", {"name": name, "command": command, **values})["id"]
        return identifier

    def process(self, program: int) -> int:
        """Waits until the program runs and returns its pid."""
        found = "SELECT pid FROM programs_process WHERE program_id = %s AND state = 'running'"
        rows = wait_until(lambda: self.database.execute(found, [program]).fetchall())
        return int(rows[0][0])

    def events(self, program: int) -> list[str]:
        return [event["type"] for event in self.ask("GET", f"/api/programs/{program}/events?per_page=50")["items"]]

    def points(self, program: int) -> list[Any]:
        now = time.time()
        window = f"start={int(now) - 300}&end={int(now) + 1}"
        found: list[Any] = self.ask("GET", f"/api/metrics/{program}?{window}")["series"]["cpu_percent"]["avg"]
        return found

    def system(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", "/api/system")
        return found


@pytest.fixture
def site(empty_installation: Installation) -> Iterator[Site]:
    with postgresql() as database, redis_server() as redis_url:
        site = Site(empty_installation, database, redis_url)
        with contextlib.closing(site.database), contextlib.closing(site.redis):
            yield site
            empty_installation.end_processes()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver().start()
    yield receiver
    receiver.stop()


async def test_the_monitor_works_on_postgresql_and_redis_with_a_second_host(
    site: Site, receiver: Receiver, tmp_path: Path
) -> None:
    site.database.execute(OLD_POINT, {"at": LONG_AGO})
    serve = site.start()
    site.ask("POST", "/api/webhooks", {"name": "ops", "url": receiver.url(), "events": ["program.crashed"]})
    receiver.script("/ok", status(200, "thanks\0"))
    program = site.define("worker", "sh -c 'printf \"one\\\\000two\\\\n\"; exec sleep 120'", start_seconds=0)
    first = site.process(program)
    wait_until(lambda: "two" in json.dumps(site.ask("GET", f"/api/programs/{program}/logs?tail=5")))
    await check_status_socket(site, program, first)
    second = site.process(program)
    assert second != first
    assert wait_until(lambda: receiver.received)[0].json["type"] == "program.crashed"
    wait_until(lambda: site.ask("GET", "/api/webhooks/deliveries?state=delivered")["count"])
    (incident,) = site.ask("GET", f"/api/incidents?program={program}")["items"]
    assert "two" in json.dumps(site.ask("GET", f"/api/incidents/{incident['id']}"))
    wait_until(lambda: site.points(program))
    site.ask("POST", f"/api/programs/{program}/restart")
    wait_until(lambda: site.process(program) != second)
    assert {"program.crashed", "program.started", "program.stopped"} <= set(site.events(program))
    check_cache_in_redis(site, program)
    wait_until(lambda: not site.database.execute(OLD_POINTS, {"at": LONG_AGO}).fetchall())
    check_system(site)
    check_definition_changes(site)
    check_nul_characters(site)
    check_second_host(site, tmp_path / "other")
    serve.terminate()
    assert serve.wait(60) == 0
    assert site.installation.processes() == []


async def check_status_socket(site: Site, program: int, pid: int) -> None:
    async with opened(site.web, "/ws/status/") as socket:
        assert (await socket.receive_json(timeout=60))["type"] == "snapshot"
        wait_until(lambda: set(site.redis.pubsub_channels("monitor:bell:*")) >= BELLS)
        psutil.Process(pid).kill()
        seen: set[str] = set()
        while "program.crashed" not in seen:
            message = await socket.receive_json(timeout=60)
            seen.add(message.get("event", {}).get("type", ""))


def check_cache_in_redis(site: Site, program: int) -> None:
    end = int(time.time()) - 600
    past = f"/api/metrics/{program}?start={end - 3600}&end={end}"
    answers = [site.ask("GET", past) for _ in range(2)]
    assert answers[0] == answers[1]
    (kind,) = site.system()["cache"]["kinds"]
    assert (kind["hits"] >= 1, kind["failures"], kind["entries"] >= 1) == (True, 0, True)
    assert list(site.redis.scan_iter("program-monitor:answer:metrics:*"))


def check_definition_changes(site: Site) -> None:
    program = site.define("changing", "sleep 120", autostart=False)
    assert site.ask("PATCH", f"/api/programs/{program}", {"description": "new"})["description"] == "new"
    assert "program.updated" in site.events(program)
    site.ask("DELETE", f"/api/programs/{program}")
    wait_until(lambda: "changing" not in json.dumps(site.ask("GET", "/api/programs")))


def check_system(site: Site) -> None:
    wait_until(lambda: site.system()["jobs"]["alive"] and site.system()["agents"][0]["alive"])
    system = site.system()
    assert (system["database"]["engine"], system["cache"]["backend"]) == ("postgresql", "redis")
    assert system["database"]["bytes"] > 1_000_000
    answer, text = site.web.ask("GET", "/metrics")
    assert answer.status == 200
    assert b'program="worker"' in text


def check_nul_characters(site: Site) -> None:
    """PostgreSQL, unlike SQLite, does not support NUL characters in text."""
    for path, methods in site.ask("GET", "/api/openapi.json")["paths"].items():
        known = re.sub(r"\{\w*id\}", "1", path)
        names = [one["name"] for one in methods.get("get", {}).get("parameters", []) if one["in"] == "query"]
        for asked in [f"{known}/%00", *(f"{known}?{name}=%00" for name in names if name not in STREAMS)]:
            answer, content = site.web.ask("GET", asked)
            assert answer.status in REFUSALS, (asked, answer.status, content)
    assert site.web.ask("GET", "/admin/login/?next=%00")[0].status == 400


def check_second_host(site: Site, folder: Path) -> None:
    """Copies the keys, because the secrets of programs are encrypted with them."""
    folder.mkdir(mode=0o700)
    shutil.copy(site.installation.folder / "secrets.key", folder)
    other = {"HOST_NAME": "other", "DATA_DIR": str(folder)}
    agent = site.installation.start("manage.py", "agent", "--stop-programs", **other)
    wait_until(lambda: any(found["host"] == "other" for found in site.system()["agents"]))
    secret = {"name": "TOKEN", "value": "s3cret", "secret": True}
    program = site.define("far", ONLY_WITH_THE_SECRET, host="other", environment=[secret])
    process = psutil.Process(site.process(program))
    assert process.ppid() == agent.pid
    agent.terminate()
    assert agent.wait(60) == 0
    assert not process.is_running()
