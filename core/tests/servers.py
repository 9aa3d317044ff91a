"""A PostgreSQL and a Redis of the tests' own: on free ports of loopback, forgotten afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import redis

from .http_rig import free_port

PATIENCE = 60.0  # for a machine that does ten other things
# What a power cut would do to these data is nobody's concern.
HASTE = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]


def programs_of_postgresql() -> Path | None:
    """The folder with `initdb`, which Debian does not put on PATH; None where PostgreSQL is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    return max((path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=None)


def are_there() -> bool:
    return programs_of_postgresql() is not None and shutil.which("redis-server") is not None


def until(answers: Callable[[], Any], server: subprocess.Popen[bytes], *failures: type[Exception]) -> None:
    """Waits for a server that was just started. Fails when it ended instead."""
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
def postgresql(address: str = "127.0.0.1", inside: Sequence[str] = ()) -> Iterator[str]:
    """The URL of an empty database. PostgreSQL refuses to be root, so it is `postgres` then.

    `inside` is a command that runs another one in a network namespace, one of whose addresses is `address`.
    """
    programs = programs_of_postgresql()
    assert programs is not None, "PostgreSQL is not installed"
    account: dict[str, Any] = {} if os.geteuid() else {"user": "postgres", "group": "postgres", "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="monitor-postgresql-") as folder:
        if account:
            shutil.chown(folder, "postgres", "postgres")
        data, port = f"{folder}/data", free_port()
        making = [str(programs / "initdb"), "-D", data, "-U", "monitor", "--auth=trust", "--encoding=UTF8"]
        making += ["--locale=C.UTF-8", "--no-sync"]
        subprocess.run(making, check=True, capture_output=True, cwd=folder, **account)
        with Path(f"{data}/pg_hba.conf").open("a") as file:
            file.write("host all all samenet trust\n")
        arguments = [str(programs / "postgres"), "-D", data, "-p", str(port), "-k", "", *HASTE]
        arguments += ["-c", f"listen_addresses={'*' if inside else address}"]
        if inside:  # needs root until it is there
            account = {}
            arguments = [*inside, "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *arguments]
        url = f"postgres://monitor@{address}:{port}/postgres"
        with running(arguments, signal.SIGINT, cwd=folder, **account) as server:
            connect = [*inside, sys.executable, "-c", f"import psycopg; psycopg.connect({url!r}).close()"]
            until(
                lambda: subprocess.run(connect, check=True, capture_output=True),
                server,
                subprocess.CalledProcessError,
            )
            yield url


@contextlib.contextmanager
def redis_server(port: int | None = None) -> Iterator[str]:
    """The URL of an empty Redis. A `port` is for one that comes back."""
    port = port or free_port()
    arguments = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running(arguments, signal.SIGTERM) as server, redis.Redis(port=port) as client:
        until(client.ping, server, redis.RedisError)
        yield f"redis://127.0.0.1:{port}/0"
