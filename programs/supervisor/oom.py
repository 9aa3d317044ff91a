"""Which ends were for want of memory. The kernel tells how many it has killed for that since boot, not whom."""

from __future__ import annotations

from collections.abc import Callable

from . import platform
from .platform import Exit

# From the kernel's count to the victim's end: it has to give its memory back first.
LONGEST_SECONDS = 5.0


class OutOfMemory:
    """Sets ends by SIGKILL against the kernel's kills, one for one: several victims of one moment are all told.

    A kill that nobody's end was seen for (a stranger, a child of a program) is forgotten after LONGEST_SECONDS.
    """

    def __init__(
        self, count: Callable[[], int] = platform.oom_kills, clock: Callable[[], float] = platform.now
    ) -> None:
        self._count = count
        self._clock = clock
        self._seen = count()
        self._open: list[float] = []  # when each kill without a victim so far was first seen

    def look(self) -> None:
        """Now and then, so that an old kill is not taken for that of a later end."""
        now, before = self._clock(), self._seen
        self._seen = self._count()
        new = max(0, self._seen - before)
        self._open = [at for at in self._open if now - at <= LONGEST_SECONDS] + [now] * new

    def took(self, end: Exit) -> bool:
        """Whether this end, of just now, looks like one of the kernel's kills. Each is counted once."""
        self.look()
        if end.signal != "SIGKILL" or not self._open:
            return False
        self._open.pop(0)
        return True
