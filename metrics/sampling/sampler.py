"""The use of every program's tree, tick by tick."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from programs.supervisor import platform

from .base import Key, Reader, Root, Sample, TreeUsage
from .cpu_accounting import Bytes, CpuAccount
from .process_groups import Family, ProcessGroups

if sys.platform == "linux":
    from .linux import LinuxReader as DefaultReader
else:
    from .portable import PortableReader as DefaultReader

SHORTEST_SECONDS = 0.25  # a percentage of less would be made of rounding errors
ROUNDING_SECONDS = 0.02  # of the kernel's start times
EXTRAS_SKIPPED = 2  # times in a row that open files and bytes are taken to be as before while all sleep
CORES = os.cpu_count() or 1


Choice = Callable[[Key], bool]


def nobody(key: Key) -> bool:
    return False


class Moment(NamedTuple):
    """`running` stands still while the machine sleeps; `since_boot` goes on, like the kernel's start times."""

    running: float
    since_boot: float


def now() -> Moment:
    return Moment(time.monotonic(), platform.now())


@dataclass(slots=True)
class Tree:
    """What was counted of an instance, and until when; `memory_bytes` and `threads` are of its last members."""

    root_start: int
    counted: Moment
    cpu: CpuAccount
    read: CpuAccount
    written: CpuAccount
    memory_bytes: int = 0
    threads: int = 0
    open_files: int | None = None
    looked_at: Family | None = None  # for its open files and bytes
    skipped: int = 0

    @classmethod
    def counting_from(cls, moment: Moment, root: Sample, members: Family) -> Tree:
        """Of `members` what they used so far is not counted, nor is that of others which ran at that moment."""
        since = moment.since_boot
        return cls(
            root.kernel_start, moment, CpuAccount(since, members), CpuAccount(since, {}), CpuAccount(since, {})
        )


class Sampler:
    """Remembers the last look, because use is the difference of two. One thread at a time may call `sample`."""

    def __init__(
        self,
        reader: Reader | None = None,
        *,
        marker_of: Callable[[int], str | None] = platform.marker_of,
        clock: Callable[[], Moment] = now,
    ) -> None:
        self._reader = reader or DefaultReader()
        self._families = ProcessGroups(marker_of)
        self._clock = clock
        self.sampled_at = clock()  # or, before the first sample, when it was made
        self._trees: dict[Key, Tree] = {}

    def sample(self, roots: Mapping[Key, Root], *, with_extras: Choice = nobody) -> dict[Key, TreeUsage]:
        """The use of each tree whose root is alive; also open files and bytes of those chosen by `with_extras`."""
        families = self._families.gather(self._reader.read(), roots)
        moment = self._clock()
        self._trees = {
            key: self._tree(key, family[roots[key].pid], family, moment) for key, family in families.items()
        }
        self.sampled_at = moment
        usages = {key: _count(self._trees[key], family, moment) for key, family in families.items()}
        for key in filter(with_extras, families):
            usages[key] = self._with_extras(self._trees[key], families[key], usages[key], moment)
        return usages

    def close(self) -> None:
        self._reader.close()

    def _tree(self, key: Key, root: Sample, family: Family, moment: Moment) -> Tree:
        """A root that started since the last look is counted from its start, any other from its first sample."""
        tree = self._trees.get(key)
        if tree and tree.root_start == root.kernel_start:
            return tree
        age = moment.since_boot - platform.kernel_seconds(root.kernel_start)
        if age > moment.since_boot - self.sampled_at.since_boot + ROUNDING_SECONDS:
            return Tree.counting_from(moment, root, family)
        started = Moment(moment.running - age, moment.since_boot - age)
        return Tree.counting_from(started, root, {})

    def _with_extras(self, tree: Tree, family: Family, usage: TreeUsage, moment: Moment) -> TreeUsage:
        if family == tree.looked_at and tree.skipped < EXTRAS_SKIPPED:
            tree.skipped += 1
            nothing = 0 if tree.read.members else None
            return usage._replace(open_files=tree.open_files, read_bytes=nothing, write_bytes=nothing)
        tree.looked_at, tree.skipped = family, 0
        open_files: int | None = None
        read: dict[int, Bytes] = {}
        written: dict[int, Bytes] = {}
        for pid, sample in family.items():
            extras = self._reader.extras(pid)
            if extras.open_files is not None:
                open_files = (open_files or 0) + extras.open_files
            if extras.read_bytes is not None and extras.write_bytes is not None:
                read[pid] = Bytes(pid, sample.ppid, sample.kernel_start, extras.read_bytes)
                written[pid] = Bytes(pid, sample.ppid, sample.kernel_start, extras.write_bytes)
        tree.open_files = open_files
        return usage._replace(
            open_files=open_files,
            read_bytes=tree.read.spent(read, moment.since_boot) if read else None,
            write_bytes=tree.written.spent(written, moment.since_boot) if written else None,
        )


def _count(tree: Tree, family: Family, moment: Moment) -> TreeUsage:
    is_asleep = tree.threads and family == tree.cpu.members  # of most trees, most of the time
    if not is_asleep:
        tree.memory_bytes = sum(sample.memory_bytes for sample in family.values())
        tree.threads = sum(sample.threads for sample in family.values())
    seconds = moment.running - tree.counted.running
    if seconds < SHORTEST_SECONDS:
        return TreeUsage(0.0, tree.memory_bytes, tree.threads)
    tree.counted = moment
    if is_asleep:
        tree.cpu.since = moment.since_boot
        return TreeUsage(0.0, tree.memory_bytes, tree.threads, 0, round(seconds * 1000))
    # Where the kernel hides a child until it is waited for, an old one's time would arrive as if it were new.
    spent = min(tree.cpu.spent(family, moment.since_boot), round(seconds * 1000 * (CORES + 1)))
    percent = round(spent / seconds / 10, 2)
    return TreeUsage(percent, tree.memory_bytes, tree.threads, spent, round(seconds * 1000))
