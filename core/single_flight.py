"""Deduplicated blocking calls that may hang for minutes, such as resolving a name when the name server is down."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Callers with the same key share one running call. Works from any thread and any event loop.

    A blocking call cannot be cancelled, so each key gets a daemon thread, which the process does not
    wait for at exit.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, Future[T | Exception]] = {}
        self._lock = threading.Lock()

    def submit(self, key: Hashable, call: Callable[[], T]) -> Future[T | Exception]:
        """The result is what `call` returned or raised. Raises RuntimeError when no thread can be started."""
        with self._lock:
            if key not in self._running:
                future: Future[T | Exception] = Future()
                future.set_running_or_notify_cancel()  # a caller that gives up must not cancel it for others
                thread = threading.Thread(
                    target=self._run, args=(key, call, future), name="single-flight", daemon=True
                )
                thread.start()
                self._running[key] = future
            return self._running[key]

    async def run(self, key: Hashable, call: Callable[[], T]) -> T:
        result = await asyncio.wrap_future(self.submit(key, call))
        if isinstance(result, Exception):
            raise result
        return result

    def _run(self, key: Hashable, call: Callable[[], T], future: Future[T | Exception]) -> None:
        result: T | Exception
        try:
            result = call()
        except Exception as error:
            result = error
        with self._lock:
            del self._running[key]
        future.set_result(result)
