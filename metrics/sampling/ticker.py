"""A fixed-rate ticker that measures lag, missed ticks and duration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from django.conf import settings

log = structlog.get_logger(__name__)
LATE_WARNING_SECONDS = 1.0


class SamplingTicker:
    """Times are seconds of a monotonic clock. A late tick does not delay the following ones."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.next_at = clock()
        self.ticks = 0
        self.missed = 0  # skipped because the tick before took too long
        self.lag = 0.0
        self.worst_lag = 0.0
        self.duration = 0.0

    @contextmanager
    def tick(self) -> Iterator[None]:
        """Wraps the work of one tick. `next_at` is when the next is due."""
        started_at = self._clock()
        self._start(started_at)
        yield
        self.duration = self._clock() - started_at

    def _start(self, now: float) -> None:
        self.ticks += 1
        self.lag = max(0.0, now - self.next_at)
        self.worst_lag = max(self.worst_lag, self.lag)
        missed = int(self.lag // settings.SAMPLE_SECONDS)
        self.missed += missed
        self.next_at += (missed + 1) * settings.SAMPLE_SECONDS
        if self.lag > max(LATE_WARNING_SECONDS, settings.SAMPLE_SECONDS):
            log.warning("metrics.tick_late", seconds=round(self.lag, 3))
