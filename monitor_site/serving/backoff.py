"""How long to wait before a part that died is started again. Pure: the clock is an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pace:
    """Waits in seconds, each `factor` times the one before; a part that ran `healthy` seconds starts over."""

    first: float = 0.5
    factor: float = 1.5
    longest: float = 30.0
    healthy: float = 60.0
    deaths_allowed: int = 10
    deaths_window: float = 60.0


@dataclass
class Backoff:
    pace: Pace = field(default_factory=Pace)
    _next: float = 0.0
    _deaths: deque[float] = field(default_factory=deque)

    def after_death(self, *, now: float, uptime: float) -> float:
        """Seconds to wait, for a part that died at `now` after running `uptime` seconds."""
        if uptime >= self.pace.healthy:
            self._next = 0.0
            self._deaths.clear()
        self._deaths.append(now)
        while self._deaths[0] < now - self.pace.deaths_window:
            self._deaths.popleft()
        self._next = min(max(self.pace.first, self._next * self.pace.factor), self.pace.longest)
        return self.pace.longest if self.keeps_dying else self._next

    @property
    def keeps_dying(self) -> bool:
        """So often of late that only a person can help; it is tried further, at the longest wait."""
        return len(self._deaths) >= self.pace.deaths_allowed
