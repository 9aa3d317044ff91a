"""The agent's end when the database does not help."""

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


def wait_until_said(file: Path, text: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while text not in file.read_text():
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.05)


@contextlib.contextmanager
def silenced(url: str) -> Iterator[None]:
    """The server takes what it is sent, and answers nothing."""
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
def test_an_agent_ends_in_time_though_its_database_says_nothing(tmp_path: Path) -> None:
    with postgresql() as url, (tmp_path / "said").open("w+b") as said:
        environment = {"DATABASE_URL": url, "DATA_DIR": str(tmp_path), "HOST_NAME": "testhost"}
        assert manage("migrate", environment, stdout=subprocess.DEVNULL).wait(PATIENCE) == 0
        agent = manage("agent", environment, stdout=said, stderr=said)
        try:
            wait_until_said(tmp_path / "said", "agent.started")
            with silenced(url):
                time.sleep(2 * POLL_SECONDS)  # until it has asked for wishes, and hears nothing
                agent.terminate()
                agent.wait(PATIENCE / 2)
        finally:
            agent.kill()
    assert "agent.ended_without_the_database" in (tmp_path / "said").read_text()
