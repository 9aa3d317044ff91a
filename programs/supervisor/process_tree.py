"""Which processes belong to a program: its descendants, its session, and every process with its marker.

None of these is enough. The parent link is lost when the parent dies, the session with setsid, and the marker when
a program clears its environment. Names are never compared.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import platform
from .platform import Identity, ProcessInfo

# Between fork and exec a process still shows its parent's environment, so young ones are read again.
SETTLED_SECONDS = 5.0


@dataclass(frozen=True)
class Snapshot:
    """The process table at one time, with the markers found in it. The other fields are derived."""

    table: dict[int, ProcessInfo]
    markers: dict[int, str]
    boot_id: str
    children: dict[int, list[int]] = field(default_factory=dict)
    sessions: dict[int, list[int]] = field(default_factory=dict)
    by_marker: dict[str, list[int]] = field(default_factory=dict)
    ancestry: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for info in self.table.values():
            self.children.setdefault(info.ppid, []).append(info.pid)
            self.sessions.setdefault(info.session, []).append(info.pid)
        for pid, marker in self.markers.items():
            self.by_marker.setdefault(marker, []).append(pid)
        self.ancestry.update(self._own_ancestry())

    def identity(self, pid: int) -> Identity:
        return Identity(pid, self.table[pid].kernel_start, self.boot_id)

    def is_running(self, identity: Identity) -> bool:
        info = self.table.get(identity.pid)
        return info is not None and not info.is_zombie and self.identity(identity.pid) == identity

    def members(self, main: Identity | None, marker: str) -> set[Identity]:
        """All processes of the run `marker`, whose main process is or was `main`."""
        roots = set(self.by_marker.get(marker, ())) if marker else set()
        if main is not None and self._is_pid_still_ours(main):
            roots |= {main.pid, *self.sessions.get(main.pid, ())}
        found = self._with_descendants(roots, marker)
        return {self.identity(pid) for pid in found if not self.table[pid].is_zombie}

    def _is_pid_still_ours(self, main: Identity) -> bool:
        """Whether the pid, also as a session id, has not been reused."""
        # The kernel does not reuse a pid while a session has it as its id, so this is true of a process whose exit
        # was watched. After an exit that nobody saw only the marker counts: pass no `main`.
        if main.boot_id != self.boot_id:
            return False
        info = self.table.get(main.pid)
        return info is None or info.kernel_start == main.kernel_start

    def _with_descendants(self, roots: Iterable[int], marker: str) -> set[int]:
        found: set[int] = set()
        waiting = list(roots)
        while waiting:
            pid = waiting.pop()
            # A monitor may be started from a shell that is a program itself: leave out the agent, its ancestors
            # and processes with another run's marker.
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


class ProcessScanner:
    """Takes snapshots in a thread. Calls during a scan share the next one."""

    def __init__(self) -> None:
        self._known_markers: dict[tuple[int, int], str | None] = {}
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
        """Blocks for about 10 µs a process, and another 20 µs for each new one."""
        table = platform.process_table()
        settled_before = platform.now() - SETTLED_SECONDS
        known: dict[tuple[int, int], str | None] = {}
        markers: dict[int, str] = {}
        for pid, info in table.items():
            key = (pid, info.kernel_start)
            found = self._known_markers[key] if key in self._known_markers else platform.marker_of(pid)
            if found is not None or platform.kernel_seconds(info.kernel_start) < settled_before:
                known[key] = found
            if found is not None:
                markers[pid] = found
        self._known_markers = known
        return Snapshot(table, markers, platform.boot_id())
