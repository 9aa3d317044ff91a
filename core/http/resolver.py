"""Looks up names, and refuses an attempt when any of the answers may not be dialled."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from .messages import RefusedError
from .policy import Policy

Answers = list[tuple[Any, ...]]


class GuardedResolver(AbstractResolver):
    """Keeps no answer: a name may lead somewhere else each time, and is judged each time.

    getaddrinfo cannot be interrupted, and a silent name server holds it for half a minute. So every name has a
    thread of its own, one at a time, that neither other names nor the end of the process wait for.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._running: dict[tuple[str, int], asyncio.Future[Answers]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises socket.gaierror, or RefusedError."""
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

    async def _look_up(self, host: str, port: int) -> Answers:
        key = (host, port)
        if key not in self._running:
            loop = asyncio.get_running_loop()
            self._running[key] = future = loop.create_future()
            future.add_done_callback(lambda done: self._finished(key, done))
            threading.Thread(target=_ask, args=(loop, future, host, port), name="names", daemon=True).start()
        return await asyncio.shield(self._running[key])

    def _finished(self, key: tuple[str, int], done: asyncio.Future[Answers]) -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # known now, although everybody who asked may have gone

    async def close(self) -> None:
        for future in list(self._running.values()):
            future.cancel()


def _ask(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Answers], host: str, port: int) -> None:
    """Runs in a thread. A loop that was closed meanwhile wants no answer."""
    outcome: Answers | Exception
    try:
        outcome = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG))
    except UnicodeError:
        outcome = RefusedError(f"There can be no host named {host[:80]}.")
    except OSError as error:
        outcome = error
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_settle, future, outcome)


def _settle(future: asyncio.Future[Answers], outcome: Answers | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
