"""Wakes another process of the monitor. A ring carries nothing and may get lost: the database is the truth.

Every listener also looks for work at its own interval, so a lost ring costs at most that interval. By default
a ring is a datagram to a Unix socket in `DATA_DIR/run` (UDP on loopback where there are none); with REDIS_URL
set it is a message on a Redis channel and reaches every host.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import select
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction

log = structlog.get_logger(__name__)
HAS_UNIX_SOCKETS = hasattr(socket, "AF_UNIX")
LONGEST_SOCKET_PATH = 100  # sockaddr_un holds 104 to 108 bytes, depending on the system


def ring(name: str) -> None:
    """Wakes whoever waits at the bell `name`. Never blocks and never fails."""
    (_ring_redis if settings.REDIS_URL else _ring_local)(name)


def ring_on_commit(name: str) -> None:
    """Rings once the current transaction is visible to the others."""
    transaction.on_commit(lambda: ring(name))


@contextlib.asynccontextmanager
async def listen(name: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set at each ring of `name`; the listener clears it."""
    async with (_listen_redis if settings.REDIS_URL else _listen_local)(name) as event:
        yield event


async def wait(event: asyncio.Event, timeout: float) -> bool:
    """Until a ring (True) or `timeout` seconds have passed (False). Clears the ring."""
    try:
        await asyncio.wait_for(event.wait(), timeout)
    except TimeoutError:
        return False
    event.clear()
    return True


class Bell:
    """For a process without an event loop. It is heard from the first `wait` on; one listener for each name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._wait = self._wait_redis if settings.REDIS_URL else self._wait_local
        self._source: Any = None

    def wait(self, timeout: float) -> bool:
        """Until a ring (True) or `timeout` seconds have passed (False). The first call asks to look at once."""
        if self._source is None:
            self._source = _subscribe(self._name) if settings.REDIS_URL else _open_bell(self._name)
            return True
        return self._wait(timeout)

    def _wait_local(self, timeout: float) -> bool:
        if not select.select([self._source], [], [], timeout)[0]:
            return False
        self._source.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._source.recv(16):
                pass  # rings that came together are one
        return True

    def _wait_redis(self, timeout: float) -> bool:
        import redis

        try:
            found = self._source.get_message(timeout=timeout)
        except redis.RedisError as error:
            log.warning("doorbell.redis_lost", error=str(error))
            time.sleep(timeout)
            return False
        return found is not None and found["type"] == "message"


# --- Datagrams ------------------------------------------------------------------------------------------


def _socket_path(name: str) -> Path:
    path = Path(settings.RUN_DIR) / f"{name}.bell"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"monitor-{os.getuid()}-{digest}" / f"{name}.bell"


def _address(name: str) -> Any:
    if HAS_UNIX_SOCKETS:
        return str(_socket_path(name))
    return ("127.0.0.1", int((Path(settings.RUN_DIR) / f"{name}.port").read_text()))


def _ring_local(name: str) -> None:
    family = socket.AF_UNIX if HAS_UNIX_SOCKETS else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as bell:
        # Nobody listening, or a full buffer that will wake the listener anyway: both are fine.
        bell.setblocking(False)
        bell.sendto(b"!", _address(name))


def _open_bell(name: str) -> socket.socket:
    if not HAS_UNIX_SOCKETS:
        bell = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bell.bind(("127.0.0.1", 0))
        Path(settings.RUN_DIR).mkdir(mode=0o700, parents=True, exist_ok=True)
        (Path(settings.RUN_DIR) / f"{name}.port").write_text(str(bell.getsockname()[1]))
        return bell
    path = _socket_path(name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bell.bind(str(path))
    return bell


@contextlib.asynccontextmanager
async def _listen_local(name: str) -> AsyncIterator[asyncio.Event]:
    event = asyncio.Event()
    bell = _open_bell(name)
    bell.setblocking(False)

    class Wake(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            event.set()

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Wake, sock=bell)
    try:
        yield event
    finally:
        transport.close()


# --- Redis ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _redis() -> Any:
    import redis

    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)


def _channel(name: str) -> str:
    return f"monitor:bell:{name}"


def _ring_redis(name: str) -> None:
    import redis

    try:
        _redis().publish(_channel(name), b"!")
    except redis.RedisError as error:
        log.warning("doorbell.not_rung", bell=name, error=str(error))


@contextlib.asynccontextmanager
async def _listen_redis(name: str) -> AsyncIterator[asyncio.Event]:
    event = asyncio.Event()
    task = asyncio.create_task(_follow_redis(name, event))
    try:
        yield event
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _subscribe(name: str) -> Any:
    import redis

    client: Any = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1)
    pubsub = client.pubsub()
    try:
        pubsub.subscribe(_channel(name))
    except redis.RedisError as error:  # it subscribes again by itself once Redis is back
        log.warning("doorbell.redis_lost", error=str(error))
    return pubsub


async def _follow_redis(name: str, event: asyncio.Event) -> None:
    """Sets `event` at each message; when Redis goes away, tries again for as long as it takes."""
    import redis
    import redis.asyncio

    while True:
        try:
            async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as pubsub:
                await pubsub.subscribe(_channel(name))
                event.set()  # whatever was rung before the subscription
                async for message in pubsub.listen():
                    if message["type"] == "message":
                        event.set()
        except (redis.RedisError, OSError) as error:
            log.warning("doorbell.redis_lost", error=str(error))
            await asyncio.sleep(2)
