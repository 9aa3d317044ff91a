"""Resolves names and refuses a request when the policy forbids any of the addresses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from .messages import RefusedError
from .policy import Policy

AddressInfos = list[tuple[Any, ...]]


class GuardedResolver(AbstractResolver):
    """Caches nothing: every lookup is checked, because a name may resolve to another address each time.

    getaddrinfo cannot be interrupted and can hang for half a minute. So each name being resolved has one daemon
    thread, which neither other names nor the exit of the process wait for.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._running: dict[tuple[str, int], asyncio.Future[AddressInfos]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises socket.gaierror, or RefusedError."""
        answers = await self._resolve(host, port)
        for answer in answers:
            self._policy.check(answer[4][0], port)
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=port,
                family=found_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, protocol, _, address in answers
        ]

    async def _resolve(self, host: str, port: int) -> AddressInfos:
        key = (host, port)
        if key not in self._running:
            loop = asyncio.get_running_loop()
            self._running[key] = future = loop.create_future()
            future.add_done_callback(lambda done: self._finished(key, done))
            threading.Thread(
                target=_resolve_in_thread, args=(loop, future, host, port), name="names", daemon=True
            ).start()
        return await asyncio.shield(self._running[key])

    def _finished(self, key: tuple[str, int], done: asyncio.Future[AddressInfos]) -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # marks it as retrieved, since all callers may have been cancelled

    async def close(self) -> None:
        for future in list(self._running.values()):
            future.cancel()


def _resolve_in_thread(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[AddressInfos], host: str, port: int
) -> None:
    outcome: AddressInfos | Exception
    try:
        outcome = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG))
    except UnicodeError:
        outcome = RefusedError(f"{host[:80]} is not a valid host name.")
    except OSError as error:
        outcome = error
    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(_set_outcome, future, outcome)


def _set_outcome(future: asyncio.Future[AddressInfos], outcome: AddressInfos | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
