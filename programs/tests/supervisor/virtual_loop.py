"""An asyncio event loop without file descriptors whose clock jumps to the next timer instead of waiting."""

from __future__ import annotations

import asyncio
from typing import Any


class NothingToDoError(Exception):
    """The code under test waits for something that no timer or callback will ever bring."""


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """`time` starts at `now` and moves only when nothing is ready to run."""

    def __init__(self, now: float = 1000.0) -> None:
        super().__init__()
        self.now = now
        self._selector = self  # the base class calls `select` on it before each round

    def time(self) -> float:
        return self.now

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise NothingToDoError
        self.now += max(timeout, 0.0)
        return []

    def _process_events(self, events: list[Any]) -> None:
        """There are none without file descriptors."""

    def advance(self, seconds: float) -> None:
        """Runs everything that is due within so many seconds."""
        self.run_until_complete(asyncio.sleep(seconds))

    def pending_timers(self) -> list[asyncio.TimerHandle]:
        return [timer for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
