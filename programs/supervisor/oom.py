"""Which exits were out-of-memory kills. The kernel counts those since boot but does not name the victims."""

from __future__ import annotations

from collections.abc import Callable

from .platform import Exit

# From the kernel's count to the victim's exit: it has to free its memory first.
EXPIRY_SECONDS = 5.0


class OomDetector:
    """Matches exits by SIGKILL with the kernel's kills, one for one.

    A kill whose victim is no program of ours (another process, a program's child) expires after EXPIRY_SECONDS.
    """

    def __init__(self, count: Callable[[], int], clock: Callable[[], float]) -> None:
        self._count = count
        self._clock = clock
        self._last_count = count()
        self._unmatched: list[float] = []  # when each kill without a victim was first seen

    def poll(self) -> None:
        """Reads the counter. Call it regularly, or an old kill is taken for the cause of a later exit."""
        now, before = self._clock(), self._last_count
        self._last_count = self._count()
        new = max(0, self._last_count - before)
        self._unmatched = [at for at in self._unmatched if now - at <= EXPIRY_SECONDS] + [now] * new

    def is_oom_kill(self, ended: Exit) -> bool:
        """Whether this exit, just noticed, matches a kill. Uses the kill up."""
        self.poll()
        if ended.signal != "SIGKILL" or not self._unmatched:
            return False
        self._unmatched.pop(0)
        return True
