"""Wakes another process of the monitor. A ring carries no data and may get lost: the database is the truth.

Every listener also polls at its own interval, so a lost ring costs at most that interval. By default a ring is a
datagram to a Unix socket in `DATA_DIR/run` (UDP on loopback where there are none); with REDIS_URL it is a message
on a Redis channel and reaches every host.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

from django.conf import settings
from django.db import transaction

from . import datagrams, redis_channel


class Source(Protocol):
    def wait(self, timeout: float) -> bool: ...


def ring(name: str) -> None:
    """Wakes the listener `name`. Never blocks and never fails."""
    (redis_channel.ring if settings.REDIS_URL else datagrams.ring)(name)


def ring_on_commit(name: str) -> None:
    transaction.on_commit(lambda: ring(name))


@contextlib.asynccontextmanager
async def listen(name: str) -> AsyncIterator[asyncio.Event]:
    """Yields an event that each ring of `name` sets; the listener clears it."""
    async with (redis_channel.listen if settings.REDIS_URL else datagrams.listen)(name) as event:
        yield event


async def wait(event: asyncio.Event, timeout: float) -> bool:
    """Waits for a ring (True) or `timeout` seconds (False). Clears the event."""
    try:
        await asyncio.wait_for(event.wait(), timeout)
    except TimeoutError:
        return False
    event.clear()
    return True


class BlockingListener:
    """For a process without an event loop. Listens from the first `wait` on; one listener per name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._source: Source | None = None

    def wait(self, timeout: float) -> bool:
        """Waits for a ring (True) or `timeout` seconds (False). The first call returns True at once."""
        if self._source is None:
            kind = redis_channel.Subscription if settings.REDIS_URL else datagrams.Socket
            self._source = kind(self._name)
            return True  # a ring may have come before this listener was there
        return self._source.wait(timeout)
