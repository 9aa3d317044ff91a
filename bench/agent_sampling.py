"""CPU time of the agent's sampler and recorder on real processes.

`bench.sampling_cost` runs this in a child process with Django set up. Reads pids from standard input and prints
JSON. The agent's writer thread would run the recorder's writes later; here they run at once, so that their cost
counts.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import psutil
from django.conf import settings
from django.db import connection, transaction

from metrics.models import ResourceUsage, ResourceUsageMinute
from metrics.sampling import InstanceKey, RootProcess, Sampler
from metrics.storage.bucketing import sum_by_program
from metrics.storage.recorder import Recorder
from programs.hosts import this_host
from programs.models import Program
from programs.supervisor import platform

SAMPLES = 20
RECORDED_MINUTES = 10
SHORTEST_PAUSE = 0.3  # the sampler ignores shorter intervals


def cpu_ms(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000


def roots_of(pids: list[int]) -> dict[InstanceKey, RootProcess]:
    Program.objects.bulk_create([Program(name=f"p{number:04}", command="sleep 1") for number in range(len(pids))])
    ids = sorted(Program.objects.values_list("pk", flat=True))
    found = [platform.identity(pid) for pid in pids]
    return {
        (pk, 0): RootProcess(who.pid, who.kernel_start, f"bench-{pk}")
        for pk, who in zip(ids, found, strict=True)
        if who
    }


def extras_turn(samples: int) -> Callable[[InstanceKey], bool]:
    turns = max(1, round(settings.RECORD_SECONDS / settings.SAMPLE_SECONDS))
    return lambda key: key[0] % turns == samples % turns


class SamplingLoop:
    """The collector's steps, with a simulated clock that advances by SAMPLE_SECONDS per sample."""

    def __init__(self, roots: dict[InstanceKey, RootProcess]) -> None:
        self.roots = roots
        self.sampler = Sampler()
        self.writes: list[Callable[[], None]] = []
        self.recorder = Recorder(this_host().pk, self.writes.append)
        self.at = float(int(time.time()) // 600 * 600)
        self.samples = 0

    def sample(self) -> None:
        self.samples += 1
        self.usages = sum_by_program(self.sampler.sample(self.roots, with_extras=extras_turn(self.samples)))

    def record(self) -> None:
        self.recorder.add(self.at, self.at + settings.SAMPLE_SECONDS, self.usages)
        self.at += settings.SAMPLE_SECONDS
        while self.writes:
            with transaction.atomic():
                self.writes.pop(0)()

    def make_processes_busy(self) -> None:
        """Drop the cached stat lines, so that every process is parsed and counted again."""
        self.sampler._reader._lines.clear()  # type: ignore[attr-defined]  # LinuxReader

    def make_usage_busy(self) -> None:
        """Give every program some CPU time, so that its point is written at once."""
        self.usages = {program: usage._replace(cpu_ms=10) for program, usage in self.usages.items()}


def stored_bytes() -> int:
    """Size of all tables and indexes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT (page_count - freelist_count) * page_size FROM pragma_page_count(), "
                       "pragma_freelist_count(), pragma_page_size()")  # fmt: skip
        return int(cursor.fetchone()[0])


def psutil_loop(pids: list[int]) -> Callable[[], None]:
    """The loop from psutil's documentation: one `oneshot` per process for CPU, memory and threads."""
    known = [psutil.Process(pid) for pid in pids]

    def sample() -> None:
        for process in known:
            with process.oneshot():
                process.cpu_percent()
                process.memory_info()
                process.num_threads()

    return sample


def main(pids: list[int]) -> dict[str, float]:
    loop = SamplingLoop(roots_of(pids))
    loop.sample()
    loop.record()
    sampled, recorded, sampled_busy, recorded_busy = [], [], [], []
    for _ in range(SAMPLES):
        time.sleep(SHORTEST_PAUSE)
        sampled.append(cpu_ms(loop.sample))
        recorded.append(cpu_ms(loop.record))
    for _ in range(SAMPLES):
        time.sleep(SHORTEST_PAUSE)
        loop.make_processes_busy()
        sampled_busy.append(cpu_ms(loop.sample))
        loop.make_usage_busy()
        recorded_busy.append(cpu_ms(loop.record))
    sample_with_psutil = psutil_loop(pids)
    sample_with_psutil()
    theirs = [cpu_ms(sample_with_psutil) for _ in range(SAMPLES)]
    before, points = stored_bytes(), ResourceUsage.objects.count()
    for _ in range(round(RECORDED_MINUTES * 60 / settings.SAMPLE_SECONDS)):
        loop.record()
    points = ResourceUsage.objects.count() - points
    return {
        "processes": len(pids),
        "sample": statistics.median(sampled),
        "sample_busy": statistics.median(sampled_busy),
        "record": statistics.mean(recorded),  # the mean, because only some of them also build the coarser tiers
        "record_busy": statistics.mean(recorded_busy),
        "psutil": statistics.median(theirs),
        "points": points,
        "bytes_per_point": (stored_bytes() - before) / points,
        "minutes": ResourceUsageMinute.objects.count(),
    }


def run() -> None:
    json.dump(main([int(word) for word in sys.stdin.read().split()]), sys.stdout)
