"""Who belongs to a program: its children, their children, its session, and whoever carries its mark.

No single sign is enough. A parent link breaks when the parent dies, a session is left by setsid, a mark is lost by
a program that wipes its environment. Never the name.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import platform
from .platform import Identity, ProcessInfo

# A process just forked still shows its parent's environment until it execs: only older ones are settled.
SETTLED_SECONDS = 5.0


@dataclass(frozen=True)
class Snapshot:
    """The process table of one moment, with the marks that were found in it."""

    table: dict[int, ProcessInfo]
    markers: dict[int, str]
    boot_id: str
    children: dict[int, list[int]] = field(default_factory=dict)
    sessions: dict[int, list[int]] = field(default_factory=dict)
    bearers: dict[str, list[int]] = field(default_factory=dict)
    ancestry: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for info in self.table.values():
            self.children.setdefault(info.ppid, []).append(info.pid)
            self.sessions.setdefault(info.session, []).append(info.pid)
        for pid, marker in self.markers.items():
            self.bearers.setdefault(marker, []).append(pid)
        self.ancestry.update(self._own_ancestry())

    def identity(self, pid: int) -> Identity:
        return Identity(pid, self.table[pid].kernel_start, self.boot_id)

    def is_running(self, who: Identity | None) -> bool:
        info = self.table.get(who.pid) if who else None
        return bool(info and who and not info.is_zombie and self.identity(who.pid) == who)

    def members(self, main: Identity | None, marker: str) -> set[Identity]:
        """Everyone of the run `marker`, whose first process is or was `main`."""
        roots = set(self.bearers.get(marker, ())) if marker else set()
        if main is not None and self._number_is_still_ours(main):
            roots |= {main.pid, *self.sessions.get(main.pid, ())}
        found = self._with_descendants(roots, marker)
        return {self.identity(pid) for pid in found if not self.table[pid].is_zombie}

    def _number_is_still_ours(self, main: Identity) -> bool:
        """Whether the pid, as a pid and as a session number, means nobody else by now.

        The kernel does not hand out a number while a session bears it, so this holds for a process that was
        watched to its end. Of one that ended unseen, only marks may be trusted: pass no `main`.
        """
        if main.boot_id != self.boot_id:
            return False
        info = self.table.get(main.pid)
        return info is None or info.kernel_start == main.kernel_start

    def _with_descendants(self, roots: Iterable[int], marker: str) -> set[int]:
        """Never the agent and those above it, nor whoever carries another run's mark: a monitor may be started
        from a shell that is a program itself."""
        found: set[int] = set()
        waiting = list(roots)
        while waiting:
            pid = waiting.pop()
            is_other_run = self.markers.get(pid, marker) != marker
            if pid not in found and pid in self.table and pid not in self.ancestry and not is_other_run:
                found.add(pid)
                waiting.extend(self.children.get(pid, ()))
        return found

    def _own_ancestry(self) -> set[int]:
        above: set[int] = set()
        pid = os.getpid()
        while pid in self.table and pid not in above:
            above.add(pid)
            pid = self.table[pid].ppid
        return above


class Scanner:
    """Takes snapshots in a thread. Requests that come while one is being taken share the next one."""

    def __init__(self) -> None:
        self._marks: dict[tuple[int, int], str | None] = {}
        self._running: asyncio.Task[Snapshot] | None = None
        self._next: asyncio.Task[Snapshot] | None = None

    async def scan(self) -> Snapshot:
        """A snapshot taken entirely after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
        return await asyncio.shield(self._next)

    async def _after(self, earlier: asyncio.Task[Snapshot] | None) -> Snapshot:
        if earlier is not None:
            await asyncio.wait({earlier})
        self._running, self._next = self._next, None
        return await asyncio.to_thread(self.take)

    def take(self) -> Snapshot:
        """Blocks for about 10 µs a process, and 20 µs for each that is new."""
        table = platform.process_table()
        settled_before = platform.now() - SETTLED_SECONDS
        marks: dict[tuple[int, int], str | None] = {}
        markers: dict[int, str] = {}
        for pid, info in table.items():
            key = (pid, info.kernel_start)
            found = self._marks[key] if key in self._marks else platform.marker_of(pid)
            if found is not None or platform.kernel_seconds(info.kernel_start) < settled_before:
                marks[key] = found
            if found is not None:
                markers[pid] = found
        self._marks = marks
        return Snapshot(table, markers, platform.boot_id())
