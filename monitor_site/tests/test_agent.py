"""The agent exits in time when the database does not respond."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from core.tests.servers import are_there, postgresql
from monitor_site.environment import BASE_DIR
from programs.supervisor.supervisor import POLL_SECONDS

PATIENCE = 60.0


def manage(command: str, environment: dict[str, Any], **options: Any) -> subprocess.Popen[bytes]:
    words = [sys.executable, str(BASE_DIR / "manage.py"), command]
    return subprocess.Popen(words, env={**os.environ, **environment}, **options)


def wait_for_output(file: Path, text: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while text not in file.read_text():
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.05)


@contextlib.contextmanager
def suspended(url: str) -> Iterator[None]:
    """Suspends the server: it accepts data and never responds."""
    port = urlsplit(url).port
    (server,) = (p for p in psutil.process_iter() if p.name() == "postgres" and str(port) in p.cmdline())
    family = [server, *server.children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in family:
            process.resume()


@pytest.mark.skipif(not are_there() and "CI" not in os.environ, reason="no PostgreSQL or no Redis on this machine")
def test_an_agent_exits_in_time_while_the_database_does_not_respond(tmp_path: Path) -> None:
    with postgresql() as url, (tmp_path / "output").open("w+b") as output:
        environment = {"DATABASE_URL": url, "DATA_DIR": str(tmp_path), "HOST_NAME": "testhost"}
        assert manage("migrate", environment, stdout=subprocess.DEVNULL).wait(PATIENCE) == 0
        agent = manage("agent", environment, stdout=output, stderr=output)
        try:
            wait_for_output(tmp_path / "output", "agent.started")
            with suspended(url):
                time.sleep(2 * POLL_SECONDS)  # until it waits for the database
                agent.terminate()
                agent.wait(PATIENCE / 2)
        finally:
            agent.kill()
    assert "agent.exited_without_the_database" in (tmp_path / "output").read_text()
