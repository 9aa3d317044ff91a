"""What long-lived connections have in common: so many for each person, and only while they may."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from core.access import Principal

T = TypeVar("T")
SEATS = 20


class TooManyConnectionsError(Exception):
    """This person has as many connections open as one may have."""


class ConnectionLimits:
    """Counts the open connections of each person in this process."""

    def __init__(self) -> None:
        self._taken: Counter[int] = Counter()

    def has_one_for(self, principal: Principal) -> bool:
        return self._taken[principal.user.pk] < SEATS

    @property
    def taken(self) -> int:
        """By everybody together."""
        return self._taken.total()

    @contextmanager
    def one_for(self, principal: Principal) -> Iterator[None]:
        """Raises NoSeatError."""
        user = principal.user.pk
        if not self.has_one_for(principal):
            raise TooManyConnectionsError(f"{principal.actor} has {SEATS} connections open already.")
        self._taken[user] += 1
        try:
            yield
        finally:
            self._taken[user] -= 1
            self._taken += Counter()  # drops those at nought


seats = ConnectionLimits()


async def while_allowed(
    batches: AsyncGenerator[T, None], is_allowed: Callable[[], Awaitable[bool]], every: float
) -> AsyncGenerator[T, None]:
    """What `batches` yields, until `is_allowed`, asked every so many seconds, says no. Closes `batches`."""
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    upcoming = asyncio.ensure_future(anext(batches))
    try:
        while True:
            await asyncio.wait({upcoming}, timeout=asked_at + every - loop.time())
            if loop.time() >= asked_at + every:
                if not await is_allowed():
                    return
                asked_at = loop.time()
            if upcoming.done():
                yield upcoming.result()
                upcoming = asyncio.ensure_future(anext(batches))
    finally:
        upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)
        await batches.aclose()
