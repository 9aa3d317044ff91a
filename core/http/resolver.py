"""Looks up names, and refuses an attempt when any of the answers may not be dialled."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from .policy import Policy

# getaddrinfo cannot be interrupted: a silent name server holds a thread for up to half a minute.
THREADS = 16


class GuardedResolver(AbstractResolver):
    """One look-up per name at a time, so that a name without an answer takes one thread and not all of them."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="names")
        self._running: dict[tuple[str, int], asyncio.Future[list[tuple[Any, ...]]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises socket.gaierror, or RefusedError. A name may answer differently each time: nothing is kept."""
        answers = await self._look_up(host, port)
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

    async def _look_up(self, host: str, port: int) -> list[tuple[Any, ...]]:
        key = (host, port)
        if key not in self._running:
            loop = asyncio.get_running_loop()
            self._running[key] = loop.run_in_executor(self._threads, _addresses, host, port)
            self._running[key].add_done_callback(lambda _: self._running.pop(key))
        return await asyncio.shield(self._running[key])

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _addresses(host: str, port: int) -> list[tuple[Any, ...]]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG))
