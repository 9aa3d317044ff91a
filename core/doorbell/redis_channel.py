"""Rings between hosts: messages on a Redis channel.

The Redis client must not reconnect by itself: when packets are dropped rather than refused, its PubSub loop spins
and chains exceptions until memory runs out. Here every wait has a time limit, and every error leads to a fresh
connection.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import structlog
from django.conf import settings

log = structlog.get_logger(__name__)
CONNECT_SECONDS = 3.0
PING_SECONDS = 5.0  # of silence, after which the server is asked for a sign of life
REPLY_SECONDS = 3.0
RETRY_SECONDS = 2.0
EXIT_SECONDS = 1.0  # a command that rings and exits waits at most this long for the message to leave


def _options() -> dict[str, Any]:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": REPLY_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }


def _channel(name: str) -> str:
    return f"monitor:bell:{name}"


class Outage:
    """Logs when Redis is lost and when it is back, not each failure between."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._since: float | None = None

    def begin(self, error: Exception) -> None:
        if self._since is None:
            self._since = time.monotonic()
            log.warning("doorbell.redis_lost", role=self._role, error=str(error) or type(error).__name__)

    def end(self) -> None:
        if self._since is not None:
            log.info("doorbell.redis_back", role=self._role, seconds=round(time.monotonic() - self._since, 1))
            self._since = None


# --- Ringing --------------------------------------------------------------------------------------------


class Publisher:
    """Publishes from a thread of its own: an unreachable Redis must not delay a request or the agent."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_publishing = False
        self._outage = Outage("publisher")

    def ring(self, name: str) -> None:
        with self._changed:
            self._names.add(name)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Waits until every ring was sent or failed. False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._names and not self._is_publishing, timeout)

    def _run(self) -> None:
        import redis

        client = redis.Redis.from_url(settings.REDIS_URL, **_options())
        while True:
            with self._changed:
                self._is_publishing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._names)
                names, self._names = self._names, set()
                self._is_publishing = True
            try:
                for name in names:
                    client.publish(_channel(name), b"!")
                self._outage.end()
            except (redis.RedisError, OSError) as error:
                self._outage.begin(error)


_publisher = Publisher()


def ring(name: str) -> None:
    _publisher.ring(name)


def _new_publisher() -> None:
    global _publisher
    _publisher = Publisher()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_publisher)  # threads and held locks do not survive a fork
atexit.register(lambda: _publisher.flush(EXIT_SECONDS))

# --- Listening ------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def listen(name: str) -> AsyncIterator[asyncio.Event]:
    event = asyncio.Event()
    task = asyncio.create_task(_follow(name, event))
    try:
        yield event
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _follow(name: str, event: asyncio.Event) -> None:
    """Sets `event` at each message. Reconnects for as long as it takes."""
    import redis

    outage = Outage(f"listener {name}")
    while True:
        try:
            await _receive(name, event, outage)
        except (redis.RedisError, OSError, TimeoutError) as error:
            outage.begin(error)
        await asyncio.sleep(RETRY_SECONDS)


async def _receive(name: str, event: asyncio.Event, outage: Outage) -> None:
    """Follows one connection until it fails; ends only with an exception."""
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(settings.REDIS_URL, **_options())
    pubsub = client.pubsub()
    try:
        await asyncio.wait_for(pubsub.subscribe(_channel(name)), CONNECT_SECONDS + REPLY_SECONDS)
        outage.end()
        event.set()  # a ring may have come before the subscription
        while True:
            message = await pubsub.get_message(timeout=PING_SECONDS)
            if message is None:
                await asyncio.wait_for(pubsub.ping(), REPLY_SECONDS)
                message = await pubsub.get_message(timeout=REPLY_SECONDS)
                if message is None:
                    raise TimeoutError(f"Redis has not answered for {REPLY_SECONDS:g} s")
            if message["type"] == "message":
                event.set()
    finally:
        with contextlib.suppress(redis.RedisError, OSError, TimeoutError):
            await asyncio.wait_for(pubsub.aclose(), REPLY_SECONDS)  # type: ignore[no-untyped-call]  # redis has no types here
        with contextlib.suppress(redis.RedisError, OSError, TimeoutError):
            await asyncio.wait_for(client.aclose(), REPLY_SECONDS)


class Subscription:
    """A blocking listener."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pubsub: Any = None
        self._asked_at: float | None = None  # when a ping was sent that has no answer yet
        self._outage = Outage(f"listener {name}")
        self._connect()

    def wait(self, timeout: float) -> bool:
        """True for a ring, and after a new connection, since a ring may have been missed meanwhile."""
        import redis

        if self._pubsub is None:
            return self._reconnect(timeout)
        try:
            return self._message(timeout)
        except (redis.RedisError, OSError, TimeoutError) as error:
            self._outage.begin(error)
            self._disconnect()
            return False

    def _reconnect(self, timeout: float) -> bool:
        # Not at every call: each attempt takes CONNECT_SECONDS while packets are dropped, and the caller polls.
        if time.monotonic() >= self._retry_at and self._connect():
            return True
        time.sleep(timeout)
        return False

    def _message(self, timeout: float) -> bool:
        found = self._pubsub.get_message(timeout=timeout)
        now = time.monotonic()
        if found is not None:
            self._asked_at, self._heard_at = None, now
            return bool(found["type"] == "message")
        if self._asked_at is None and now - self._heard_at > PING_SECONDS:
            self._pubsub.ping()
            self._asked_at = now
        elif self._asked_at is not None and now - self._asked_at > REPLY_SECONDS:
            raise TimeoutError(f"Redis has not answered for {REPLY_SECONDS:g} s")
        return False

    def _connect(self) -> bool:
        import redis

        self._retry_at = time.monotonic() + CONNECT_SECONDS + RETRY_SECONDS
        client: Any = redis.Redis.from_url(settings.REDIS_URL, **_options())
        pubsub = client.pubsub()
        try:
            pubsub.subscribe(_channel(self._name))
        except (redis.RedisError, OSError) as error:
            self._outage.begin(error)
            client.close()
            return False
        self._outage.end()
        self._pubsub, self._asked_at, self._heard_at = pubsub, None, time.monotonic()
        return True

    def _disconnect(self) -> None:
        import redis

        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with contextlib.suppress(redis.RedisError, OSError):
                pubsub.close()
                pubsub.connection_pool.disconnect()
