"""How much CPU time (or I/O) a process tree used between two samples. `sampler` turns it into CPU percent.

When a parent reaps a child, the kernel adds the child's whole total to the parent's. The part that was counted
while the child ran is subtracted again, but only if it reached a process of the tree: the total of a child that
another process reaped, or that the kernel discarded (SIGCHLD ignored), never arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from programs.supervisor import platform

ROUNDING_MS = 20  # user and system time are in hundredths of a second, each rounded down


class CounterReading(Protocol):
    """Two counters of one process that only grow: its own usage, and that of the children it reaped."""

    @property
    def pid(self) -> int: ...
    @property
    def ppid(self) -> int: ...
    @property
    def kernel_start(self) -> int: ...
    @property
    def own(self) -> int: ...
    @property
    def reaped(self) -> int: ...


class IoBytes(NamedTuple):
    """I/O bytes of one process. The kernel reports its own and its reaped children's as one number."""

    pid: int
    ppid: int
    kernel_start: int
    reaped: int
    own: int = 0


CounterReadings = Mapping[int, CounterReading]  # by pid


class CounterDelta:
    """The increase of one counter over a process tree.

    Usage of a process that started before `since` (seconds after boot) counts from its first sample.
    """

    __slots__ = ("members", "since")

    def __init__(self, since: float, members: CounterReadings) -> None:
        self.since = since
        self.members = members

    def advance(self, members: CounterReadings, at: float) -> int:
        """The increase since the last call. `at` is the time of the readings, in seconds after boot."""
        own, arrived = self._increase(members)
        gone = self._ended_by_ancestor(members) if arrived else {}
        self.since, before, self.members = at, self.members, members
        return own + sum(
            _uncounted(sum_, (before[pid] for pid in gone.get(to, ()))) for to, sum_ in arrived.items()
        )

    def _increase(self, members: CounterReadings) -> tuple[int, dict[int, int]]:
        """The processes' own usage, and what each received from reaped children, by pid."""
        own = 0
        arrived = {}
        for pid, reading in members.items():
            before = self.members.get(pid)
            if before is reading:  # the reader returns the same object for a sleeping process
                continue
            if before is not None and before.kernel_start == reading.kernel_start:
                own += max(0, reading.own - before.own)
                reaped = reading.reaped - before.reaped
            elif self._is_new(reading):
                own += reading.own
                reaped = reading.reaped
            else:
                continue
            if reaped > 0:
                arrived[pid] = reaped
        return own, arrived

    def _is_new(self, reading: CounterReading) -> bool:
        """Whether it started after the last sample, so that its whole total is new."""
        return platform.kernel_seconds(reading.kernel_start) >= self.since - ROUNDING_MS / 1000

    def _ended_by_ancestor(self, members: CounterReadings) -> dict[int, list[int]]:
        """Ended processes by the pid of the nearest living ancestor, which would have received their totals."""
        gone: dict[int, list[int]] = {}
        for pid, reading in self.members.items():
            if not _lives(reading, members) and (ancestor := self._living_ancestor(reading, members)):
                gone.setdefault(ancestor.pid, []).append(pid)
        return gone

    def _living_ancestor(self, ended: CounterReading, members: CounterReadings) -> CounterReading | None:
        ancestor = self.members.get(ended.ppid)
        # Bounded, because a table that was read while pids were reused may hold a circle of parents.
        for _ in range(len(self.members)):
            if ancestor is None or _lives(ancestor, members):
                return ancestor
            ancestor = self.members.get(ancestor.ppid)
        return None


def _lives(reading: CounterReading, members: CounterReadings) -> bool:
    current = members.get(reading.pid)
    return current is not None and current.kernel_start == reading.kernel_start


def _uncounted(arrived: int, ended: Iterable[CounterReading]) -> int:
    """The part of a total received from ended processes that was not counted while they ran.

    A process whose counted usage exceeds the total cannot be part of it: it was not reaped.
    """
    for part in sorted((reading.own + reading.reaped for reading in ended), reverse=True):
        if part <= arrived + ROUNDING_MS:
            arrived -= part
    return max(0, arrived)
