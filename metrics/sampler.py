"""What process trees use, from one pass over /proc for all programs together (psutil where there is no /proc)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

import psutil

Key = tuple[int, int]  # program id, process index
MAX_DEPTH = 1000  # a table read while processes come and go may hold a circle


class Sample(NamedTuple):
    """One process at one moment. `cpu_seconds` includes the children it has waited for."""

    pid: int
    ppid: int
    session: int
    kernel_start: int
    cpu_seconds: float
    memory_bytes: int
    threads: int


class TreeUsage(NamedTuple):
    """A program's process tree: percent of one core since the last tick, resident bytes, threads."""

    cpu_percent: float
    memory_bytes: int
    threads: int


if sys.platform == "linux":
    TICKS = os.sysconf("SC_CLK_TCK")
    PAGE = os.sysconf("SC_PAGE_SIZE")

    def read_all() -> dict[int, Sample]:
        """Every process of the machine; about 10 µs each."""
        samples = {}
        for name in os.listdir("/proc"):  # noqa: PTH208  (names only; Path objects would double the cost)
            if name.isdigit() and (sample := _read(name)):
                samples[sample.pid] = sample
        return samples

    def _read(name: str) -> Sample | None:
        try:
            descriptor = os.open(f"/proc/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            return None
        try:
            line = os.read(descriptor, 4096)
        except ProcessLookupError:
            return None
        finally:
            os.close(descriptor)
        f = line[line.rindex(b")") + 2 :].split()
        ticks = int(f[11]) + int(f[12]) + int(f[13]) + int(f[14])
        return Sample(int(name), int(f[1]), int(f[3]), int(f[19]), ticks / TICKS, int(f[21]) * PAGE, int(f[17]))

else:

    def read_all() -> dict[int, Sample]:
        """Every process that may be looked at."""
        wanted = ["pid", "ppid", "create_time", "cpu_times", "memory_info", "num_threads"]
        samples = {}
        for process in psutil.process_iter(wanted):
            info = process.info
            if info["cpu_times"] and info["memory_info"]:
                times = info["cpu_times"]
                samples[info["pid"]] = Sample(
                    info["pid"],
                    info["ppid"] or 0,
                    0,
                    int(info["create_time"] * 1000),
                    sum(times[:4]),
                    info["memory_info"].rss,
                    info["num_threads"] or 0,
                )
        return samples


class Sampler:
    """Remembers the last tick, because CPU use is the difference of two readings."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[float, float]] = {}  # root pid → (moment, CPU seconds of its tree)

    def usage(self, samples: Mapping[int, Sample], roots: Mapping[Key, int], now: float) -> dict[Key, TreeUsage]:
        """The use of each tree; `roots` are the main pids and `now` is seconds of a monotonic clock.

        A child's CPU seconds move to the parent that waits for it, so the tree's sum only grows. Where a stranger
        reaps the child the sum drops: that tick shows 0 rather than a negative number. The first tick shows 0 too.
        """
        trees = _trees(samples, {pid: key for key, pid in roots.items()})
        seen = {}
        found = {}
        for key, members in trees.items():
            cpu = sum(member.cpu_seconds for member in members)
            before, cpu_before = self._last.get(roots[key], (now, cpu))
            seen[roots[key]] = (now, cpu)
            share = max(0.0, cpu - cpu_before) / (now - before) if now > before else 0.0
            memory = sum(member.memory_bytes for member in members)
            found[key] = TreeUsage(round(100 * share, 1), memory, sum(member.threads for member in members))
        self._last = seen
        return found


def _trees(samples: Mapping[int, Sample], owners: Mapping[int, Key]) -> dict[Key, list[Sample]]:
    """Who belongs to whom: by session (its leader is the main process) or by descent."""
    owner_of: dict[int, Key | None] = {pid: owners[pid] for pid in owners if pid in samples}
    trees: dict[Key, list[Sample]] = {owners[pid]: [] for pid in owner_of}
    for pid, sample in samples.items():
        owner = _owner(pid, sample, samples, owner_of)
        if owner is not None:
            trees[owner].append(sample)
    return trees


def _owner(pid: int, sample: Sample, samples: Mapping[int, Sample], owner_of: dict[int, Key | None]) -> Key | None:
    path: list[int] = []
    owner: Key | None = None
    while pid not in owner_of:
        path.append(pid)
        if (owner := owner_of.get(sample.session)) is not None:
            break
        parent = samples.get(sample.ppid)
        if parent is None or len(path) > MAX_DEPTH:
            break
        pid, sample = parent.pid, parent
    else:
        owner = owner_of[pid]
    owner_of.update(dict.fromkeys(path, owner))
    return owner
