"""From readings to use: what a tree spent between two looks, whoever came, went or was waited for meanwhile.

The kernel adds what a child used to the parent that waits for it, all of it at once. What of that was already
counted while the child lived must come off again, but only if it arrived: a child that was reaped by a stranger,
or by nobody, takes its time with it, and what was counted of it stays counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from programs.supervisor import platform

ROUNDING = 20  # milliseconds: the kernel shows two numbers in hundredths of a second, each rounded down


class Reading(Protocol):
    """Two counters of one process that only grow: what it used itself, and what it got from children."""

    @property
    def pid(self) -> int: ...
    @property
    def ppid(self) -> int: ...
    @property
    def kernel_start(self) -> int: ...
    @property
    def own(self) -> int: ...
    @property
    def waited(self) -> int: ...


class Bytes(NamedTuple):
    """Input and output: the kernel shows a process's own and those of waited-for children in one number."""

    pid: int
    ppid: int
    kernel_start: int
    waited: int
    own: int = 0


Readings = Mapping[int, Reading]  # by pid


class CpuAccount:
    """One counter of one tree. What started before `since` (seconds after boot) counts from first sight."""

    __slots__ = ("members", "since")

    def __init__(self, since: float, members: Readings) -> None:
        self.since = since
        self.members = members

    def spent(self, members: Readings, at: float) -> int:
        """How much was used since the last call. `at` is the moment of the readings in seconds after boot."""
        own, arrived = self._growth(members)
        gone = self._gone(members) if arrived else {}
        self.since, before, self.members = at, self.members, members
        return own + sum(_fresh(sum_, (before[pid] for pid in gone.get(to, ()))) for to, sum_ in arrived.items())

    def _growth(self, members: Readings) -> tuple[int, dict[int, int]]:
        """What the processes used themselves, and what arrived from children, by pid."""
        own = 0
        arrived = {}
        for pid, reading in members.items():
            before = self.members.get(pid)
            if before is reading:  # not even read anew: it slept
                continue
            if before is not None and before.kernel_start == reading.kernel_start:
                own += max(0, reading.own - before.own)
                waited = reading.waited - before.waited
            elif self._is_new(reading):
                own += reading.own
                waited = reading.waited
            else:
                continue
            if waited > 0:
                arrived[pid] = waited
        return own, arrived

    def _is_new(self, reading: Reading) -> bool:
        """Whether everything it used was used since the last count."""
        return platform.kernel_seconds(reading.kernel_start) >= self.since - ROUNDING / 1000

    def _gone(self, members: Readings) -> dict[int, list[int]]:
        """The processes that ended, by the nearest ancestor that lives: the one their use would have reached."""
        gone: dict[int, list[int]] = {}
        for pid, reading in self.members.items():
            if not _lives(reading, members) and (ancestor := self._heir(reading, members)):
                gone.setdefault(ancestor.pid, []).append(pid)
        return gone

    def _heir(self, ended: Reading, members: Readings) -> Reading | None:
        ancestor = self.members.get(ended.ppid)
        for _ in range(len(self.members)):
            if ancestor is None or _lives(ancestor, members):
                return ancestor
            ancestor = self.members.get(ancestor.ppid)
        return None


def _lives(reading: Reading, members: Readings) -> bool:
    current = members.get(reading.pid)
    return current is not None and current.kernel_start == reading.kernel_start


def _fresh(arrived: int, ended: Iterable[Reading]) -> int:
    """What is new of a sum that arrived from ended processes, parts of which were counted before.

    A part that is greater than the sum cannot be in it: that process was not waited for.
    """
    for part in sorted((reading.own + reading.waited for reading in ended), reverse=True):
        if part <= arrived + ROUNDING:
            arrived -= part
    return max(0, arrived)
