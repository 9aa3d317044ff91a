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
from urllib.parse import urlsplit

import redis

from .http_server import free_port

PATIENCE = 60.0  # for a machine that does ten other things
# What a power cut would do to these data is nobody's concern.
HASTE = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]


def programs_of_postgresql() -> Path | None:
    """The folder with `initdb`, which Debian does not put on PATH; None where PostgreSQL is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent  # all of them are where the program itself is
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


def _account() -> dict[str, Any]:
    """PostgreSQL refuses to be root, so it is `postgres` then."""
    return {} if os.geteuid() else {"user": "postgres", "group": "postgres", "extra_groups": []}


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="monitor-postgresql-") as folder:
        if _account():
            shutil.chown(folder, "postgres", "postgres")
        yield folder


def _make(program: str, folder: str, *arguments: str) -> None:
    programs = programs_of_postgresql()
    assert programs is not None, "PostgreSQL is not installed"
    command = [str(programs / program), "-D", f"{folder}/data", "-U", "monitor", "--no-sync", *arguments]
    subprocess.run(command, check=True, capture_output=True, cwd=folder, **_account())


@contextlib.contextmanager
def _served(folder: str, port: int, address: str, inside: Sequence[str] = ()) -> Iterator[str]:
    programs, account = programs_of_postgresql(), _account()
    arguments = [f"{programs}/postgres", "-D", f"{folder}/data", "-p", str(port), "-k", "", *HASTE]
    arguments += ["-c", f"listen_addresses={'*' if inside else address}"]
    if inside:  # needs root until it is there
        account = {}
        arguments = [*inside, "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *arguments]
    url = f"postgres://monitor@{address}:{port}/postgres"
    connect = [*inside, sys.executable, "-c", f"import psycopg; psycopg.connect({url!r}).close()"]
    with running(arguments, signal.SIGINT, cwd=folder, **account) as server:
        failure = subprocess.CalledProcessError
        until(lambda: subprocess.run(connect, check=True, capture_output=True), server, failure)
        yield url


@contextlib.contextmanager
def postgresql(address: str = "127.0.0.1", inside: Sequence[str] = ()) -> Iterator[str]:
    """The URL of an empty database.

    `inside` is a command that runs another one in a network namespace, one of whose addresses is `address`.
    """
    with _folder() as folder:
        _make("initdb", folder, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8")
        with Path(f"{folder}/data/pg_hba.conf").open("a") as file:
            file.write("host all all samenet trust\n")
        with _served(folder, free_port(), address, inside) as url:
            yield url


class Standby:
    """A streaming replica of the PostgreSQL at `primary`. `serve` may be entered again after its end."""

    def __init__(self, folder: str, primary: str) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"postgres://monitor@127.0.0.1:{self._port}/postgres"
        parts = urlsplit(primary)
        source = ["-h", str(parts.hostname), "-p", str(parts.port)]
        _make("pg_basebackup", folder, *source, "--write-recovery-conf", "--checkpoint=fast")

    def serve(self) -> contextlib.AbstractContextManager[str]:
        return _served(self._folder, self._port, "127.0.0.1")


@contextlib.contextmanager
def standby(primary: str) -> Iterator[Standby]:
    with _folder() as folder:
        yield Standby(folder, primary)


@contextlib.contextmanager
def redis_server(port: int | None = None) -> Iterator[str]:
    """The URL of an empty Redis. A `port` is for one that comes back."""
    port = port or free_port()
    arguments = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running(arguments, signal.SIGTERM) as server, redis.Redis(port=port) as client:
        until(client.ping, server, redis.RedisError)
        yield f"redis://127.0.0.1:{port}/0"
