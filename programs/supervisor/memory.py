"""When a process uses more memory than it may."""

from __future__ import annotations

STRIKES = 3  # a fork can double the sum for a moment


class MemoryLimit:
    """Held against one sample after the other; only so many above it in a row break it."""

    def __init__(self) -> None:
        self._strikes = 0

    def is_broken(self, used: int, allowed: int | None) -> bool:
        """Takes in a sample, in bytes. Once broken it counts anew; without a limit it never is."""
        self._strikes = self._strikes + 1 if allowed and used > allowed else 0
        if self._strikes < STRIKES:
            return False
        self._strikes = 0
        return True
