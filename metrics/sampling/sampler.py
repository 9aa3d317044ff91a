"""Samples CPU percent, memory, threads and I/O of every program's process tree."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from programs.supervisor import platform

from .base import InstanceKey, ProcessReader, ProcessSample, RootProcess, TreeUsage
from .cpu_accounting import CounterDelta, IoBytes
from .process_groups import Members, ProcessGroups

if sys.platform == "linux":
    from .linux import LinuxReader as DefaultReader
else:
    from .portable import PortableReader as DefaultReader

MIN_SECONDS = 0.25  # a CPU percentage over less time consists of rounding errors
ROUNDING_SECONDS = 0.02  # of the kernel's process start times
MAX_EXTRAS_SKIPPED = 2  # times in a row that a sleeping tree's open files and bytes are not read again
CORES = os.cpu_count() or 1


KeyFilter = Callable[[InstanceKey], bool]


def no_program(key: InstanceKey) -> bool:
    return False


class ClockReading(NamedTuple):
    """`running` excludes system suspend; `since_boot` includes it, like the kernel's process start times."""

    running: float
    since_boot: float


def read_clocks() -> ClockReading:
    return ClockReading(time.monotonic(), platform.now())


@dataclass(slots=True)
class TreeState:
    """Counters of one instance as of `counted_at`; memory and threads as of its last change."""

    root_start: int
    counted_at: ClockReading
    cpu: CounterDelta
    read: CounterDelta
    written: CounterDelta
    memory_bytes: int = 0
    threads: int = 0
    open_files: int | None = None
    extras_members: Members | None = None  # as of the last read of open files and bytes
    extras_skipped: int = 0

    @classmethod
    def starting_at(cls, clocks: ClockReading, root: ProcessSample, members: Members) -> TreeState:
        """Starts counting at `clocks`: usage of processes that ran before is ignored."""
        since = clocks.since_boot
        return cls(
            root.kernel_start,
            clocks,
            CounterDelta(since, members),
            CounterDelta(since, {}),
            CounterDelta(since, {}),
        )


class Sampler:
    """Remembers the previous sample, because usage is a difference. Not thread-safe."""

    def __init__(
        self,
        reader: ProcessReader | None = None,
        *,
        marker_of: Callable[[int], str | None] = platform.marker_of,
        clock: Callable[[], ClockReading] = read_clocks,
    ) -> None:
        self._reader = reader or DefaultReader()
        self._groups = ProcessGroups(marker_of)
        self._clock = clock
        self.sampled_at = clock()  # before the first sample: when the sampler was created
        self._trees: dict[InstanceKey, TreeState] = {}

    def sample(
        self, roots: Mapping[InstanceKey, RootProcess], *, with_extras: KeyFilter = no_program
    ) -> dict[InstanceKey, TreeUsage]:
        """The usage of each tree whose root is alive; open files and bytes only where `with_extras` is true."""
        members_by_key = self._groups.gather(self._reader.read(), roots)
        clocks = self._clock()
        self._trees = {
            key: self._tree_state(key, members[roots[key].pid], members, clocks)
            for key, members in members_by_key.items()
        }
        self.sampled_at = clocks
        usages = {key: _tree_usage(self._trees[key], members, clocks) for key, members in members_by_key.items()}
        for key in filter(with_extras, members_by_key):
            usages[key] = self._with_extras(self._trees[key], members_by_key[key], usages[key], clocks)
        return usages

    def close(self) -> None:
        self._reader.close()

    def _tree_state(
        self, key: InstanceKey, root: ProcessSample, members: Members, clocks: ClockReading
    ) -> TreeState:
        # A root that started since the last sample counts from its start, any other from its first sample.
        tree = self._trees.get(key)
        if tree and tree.root_start == root.kernel_start:
            return tree
        age = clocks.since_boot - platform.kernel_seconds(root.kernel_start)
        if age > clocks.since_boot - self.sampled_at.since_boot + ROUNDING_SECONDS:
            return TreeState.starting_at(clocks, root, members)
        started = ClockReading(clocks.running - age, clocks.since_boot - age)
        return TreeState.starting_at(started, root, {})

    def _with_extras(self, tree: TreeState, members: Members, usage: TreeUsage, clocks: ClockReading) -> TreeUsage:
        if members == tree.extras_members and tree.extras_skipped < MAX_EXTRAS_SKIPPED:
            tree.extras_skipped += 1
            unchanged = 0 if tree.read.members else None
            return usage._replace(open_files=tree.open_files, read_bytes=unchanged, write_bytes=unchanged)
        tree.extras_members, tree.extras_skipped = members, 0
        open_files: int | None = None
        # None stays None: a tree of which nothing is readable has no I/O values instead of 0.
        read: dict[int, IoBytes] = {}
        written: dict[int, IoBytes] = {}
        for pid, sample in members.items():
            extras = self._reader.extras(pid)
            if extras.open_files is not None:
                open_files = (open_files or 0) + extras.open_files
            if extras.read_bytes is not None and extras.write_bytes is not None:
                read[pid] = IoBytes(pid, sample.ppid, sample.kernel_start, extras.read_bytes)
                written[pid] = IoBytes(pid, sample.ppid, sample.kernel_start, extras.write_bytes)
        tree.open_files = open_files
        return usage._replace(
            open_files=open_files,
            read_bytes=tree.read.advance(read, clocks.since_boot) if read else None,
            write_bytes=tree.written.advance(written, clocks.since_boot) if written else None,
        )


def _tree_usage(tree: TreeState, members: Members, clocks: ClockReading) -> TreeUsage:
    """CPU percent = CPU time used since the last sample / time since then, in percent of one core."""
    # Most trees sleep most of the time: skip their sums.
    is_asleep = tree.threads and members == tree.cpu.members
    if not is_asleep:
        tree.memory_bytes = sum(sample.memory_bytes for sample in members.values())
        tree.threads = sum(sample.threads for sample in members.values())
    seconds = clocks.running - tree.counted_at.running
    if seconds < MIN_SECONDS:
        return TreeUsage(0.0, tree.memory_bytes, tree.threads)
    tree.counted_at = clocks
    if is_asleep:
        tree.cpu.since = clocks.since_boot
        return TreeUsage(0.0, tree.memory_bytes, tree.threads, 0, round(seconds * 1000))
    # On systems that hide a child until it is reaped, its whole past would arrive at once: cap it at what the
    # cores can do in that time.
    cpu_ms = min(tree.cpu.advance(members, clocks.since_boot), round(seconds * 1000 * (CORES + 1)))
    percent = round(cpu_ms / seconds / 10, 2)  # ms per second / 10 = percent of one core
    return TreeUsage(percent, tree.memory_bytes, tree.threads, cpu_ms, round(seconds * 1000))
