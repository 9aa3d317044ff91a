"""Delays before a process that exited is started again. Pure: the clock is an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True)
class BackoffConfig:
    """Seconds. Each delay is `factor` times the last, up to `longest`; `healthy` seconds of uptime reset it.

    `max_exits` within `exit_window` are a crash loop.
    """

    first: float = 0.5
    factor: float = 1.5
    longest: float = 30.0
    healthy: float = 60.0
    max_exits: int = 10
    exit_window: float = 60.0


@dataclass
class Backoff:
    config: BackoffConfig = field(default_factory=BackoffConfig)
    _delay: float = 0.0
    _exits: deque[float] = field(default_factory=deque)

    def delay_after_exit(self, *, now: float, uptime: float) -> float:
        if uptime >= self.config.healthy:
            self._delay = 0.0
            self._exits.clear()
        self._exits.append(now)
        while self._exits[0] < now - self.config.exit_window:
            self._exits.popleft()
        self._delay = min(max(self.config.first, self._delay * self.config.factor), self.config.longest)
        return self.config.longest if self.is_crash_looping else self._delay

    @property
    def is_crash_looping(self) -> bool:
        """Needs attention; until then it is retried with the longest delay."""
        return len(self._exits) >= self.config.max_exits
