"""The timer and the tasks of one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from .ports import Timer, Timers


class Background:
    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._timer: Timer | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def set_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        """Replaces the timer that was set before."""
        self.cancel_timer()
        self._timer = self._timers.call_later(seconds, callback)

    def cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def create_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._timers.create_task(work)
        self._tasks.add(task)  # the event loop itself keeps weak references only
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        self.cancel_timer()
        for task in self._tasks:
            task.cancel()
