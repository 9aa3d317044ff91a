"""When a process exceeds its memory limit."""

from __future__ import annotations

MAX_SAMPLES_ABOVE = 3  # a fork can double the sum of one sample


class MemoryLimit:
    def __init__(self) -> None:
        self._samples_above = 0

    def is_exceeded(self, used: int, limit: int | None) -> bool:
        """Takes one sample, in bytes; true at MAX_SAMPLES_ABOVE above the limit in a row, then starts over."""
        self._samples_above = self._samples_above + 1 if limit and used > limit else 0
        if self._samples_above < MAX_SAMPLES_ABOVE:
            return False
        self._samples_above = 0
        return True
