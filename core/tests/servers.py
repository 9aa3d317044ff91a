"""A PostgreSQL and a Redis server for tests, on free loopback ports."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import redis

from .http_server import free_port

PATIENCE = 60.0  # seconds; generous for busy machines
# The data need not survive a power cut.
HASTE = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]


def programs_of_postgresql() -> Path | None:
    """The folder with `initdb`, which is not on PATH in Debian; None without PostgreSQL."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    return max((path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=None)


def are_there() -> bool:
    return programs_of_postgresql() is not None and shutil.which("redis-server") is not None


def until(answers: Callable[[], Any], server: subprocess.Popen[bytes], *failures: type[Exception]) -> None:
    """Waits for a server that was just started. Fails if it exited."""
    deadline = time.monotonic() + PATIENCE
    while True:
        assert server.poll() is None, "the server ended at once"
        try:
            answers()
        except failures:
            assert time.monotonic() < deadline, "the server never answered"
            time.sleep(0.05)
        else:
            return


@contextlib.contextmanager
def running(arguments: list[str], stop: signal.Signals, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        yield server
    finally:
        server.send_signal(stop)
        try:
            server.wait(PATIENCE)
        finally:
            server.kill()


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database. As root, the server runs as `postgres`, since it refuses to run as root."""
    programs = programs_of_postgresql()
    assert programs is not None, "PostgreSQL is not installed"
    account: dict[str, Any] = {} if os.geteuid() else {"user": "postgres", "group": "postgres", "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="monitor-postgresql-") as folder:
        if account:
            shutil.chown(folder, "postgres", "postgres")
        data, port = f"{folder}/data", free_port()
        options = {**account, "cwd": folder}
        making = [str(programs / "initdb"), "-D", data, "-U", "monitor", "--auth=trust", "--encoding=UTF8"]
        making += ["--locale=C.UTF-8", "--no-sync"]
        subprocess.run(making, check=True, capture_output=True, **options)
        arguments = [str(programs / "postgres"), "-D", data, "-p", str(port), "-k", "", *HASTE]
        with running([*arguments, "-c", "listen_addresses=127.0.0.1"], signal.SIGINT, **options) as server:
            url = f"postgres://monitor@127.0.0.1:{port}/postgres"
            until(lambda: psycopg.connect(url).close(), server, psycopg.OperationalError)
            yield url


@contextlib.contextmanager
def redis_server(port: int | None = None) -> Iterator[str]:
    """The URL of an empty Redis. Pass `port` to start one again at the same place."""
    port = port or free_port()
    arguments = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running(arguments, signal.SIGTERM) as server, redis.Redis(port=port) as client:
        until(client.ping, server, redis.RedisError)
        yield f"redis://127.0.0.1:{port}/0"
