"""Limits of long-lived connections: a maximum per user, and only as long as access is allowed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from core.access import Principal

T = TypeVar("T")
MAX_CONNECTIONS = 20


class TooManyConnectionsError(Exception):
    """The user already has MAX_CONNECTIONS open."""


class ConnectionLimits:
    """Counts the open connections of each user in this process."""

    def __init__(self) -> None:
        self._open: Counter[int] = Counter()

    def has_room(self, principal: Principal) -> bool:
        return self._open[principal.user.pk] < MAX_CONNECTIONS

    @property
    def total(self) -> int:
        return self._open.total()

    @contextmanager
    def hold(self, principal: Principal) -> Iterator[None]:
        """Counts one connection while the context is open. Raises TooManyConnectionsError."""
        user = principal.user.pk
        if not self.has_room(principal):
            raise TooManyConnectionsError(f"{principal.actor} already has {MAX_CONNECTIONS} open connections.")
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            self._open += Counter()  # removes the zeros


connections = ConnectionLimits()


async def while_allowed(
    batches: AsyncGenerator[T, None], is_allowed: Callable[[], Awaitable[bool]], every: float
) -> AsyncGenerator[T, None]:
    """Yields from `batches` until `is_allowed`, called every `every` seconds, returns False. Closes `batches`."""
    loop = asyncio.get_running_loop()
    checked_at = loop.time()
    upcoming = asyncio.ensure_future(anext(batches))
    try:
        while True:
            await asyncio.wait({upcoming}, timeout=checked_at + every - loop.time())
            if loop.time() >= checked_at + every:
                if not await is_allowed():
                    return
                checked_at = loop.time()
            if upcoming.done():
                yield upcoming.result()
                upcoming = asyncio.ensure_future(anext(batches))
    finally:
        upcoming.cancel()  # `aclose` fails while the generator is running
        await asyncio.gather(upcoming, return_exceptions=True)
        await batches.aclose()
