"""Questions that may hang for minutes: the name of a host whose name server is silent.

No call can take such a question back. So each has a thread of its own, one for each key, that neither others nor
the end of the process wait for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Whoever asks what is being asked already shares the answer. For any thread and any loop."""

    def __init__(self) -> None:
        self._open: dict[Hashable, Future[T | Exception]] = {}
        self._lock = threading.Lock()

    def ask(self, key: Hashable, question: Callable[[], T]) -> Future[T | Exception]:
        """The answer that comes, or what the question raised. Raises RuntimeError when no thread can be had."""
        with self._lock:
            if key not in self._open:
                future: Future[T | Exception] = Future()
                future.set_running_or_notify_cancel()  # so that nobody who loses patience takes it from others
                thread = threading.Thread(
                    target=self._answer, args=(key, question, future), name="aside", daemon=True
                )
                thread.start()
                self._open[key] = future
            return self._open[key]

    async def answer(self, key: Hashable, question: Callable[[], T]) -> T:
        """The answer, for a coroutine; raises what the question raises."""
        answer = await asyncio.wrap_future(self.ask(key, question))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self, key: Hashable, question: Callable[[], T], future: Future[T | Exception]) -> None:
        answer: T | Exception
        try:
            answer = question()
        except Exception as error:
            answer = error
        with self._lock:
            del self._open[key]
        future.set_result(answer)
