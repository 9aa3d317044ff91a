"""The agent's look at many real processes, counted in CPU time: run by `bench.sampling` with Django set up.

Sampler and recorder are the agent's own; what the recorder would put into the journal's queue is written at once,
in a transaction, so that its cost is in the figures. Prints JSON.
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

TICKS = 20
RECORDED_MINUTES = 10
LEAST_PAUSE = 0.3  # the sampler counts nothing over less


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


def turn_of(ticks: int) -> Callable[[InstanceKey], bool]:
    turns = max(1, round(settings.RECORD_SECONDS / settings.SAMPLE_SECONDS))
    return lambda key: key[0] % turns == ticks % turns


class Ticker:
    """Ticks as the collector does, on a clock of its own that runs SAMPLE_SECONDS from tick to tick."""

    def __init__(self, roots: dict[InstanceKey, RootProcess]) -> None:
        self.roots = roots
        self.sampler = Sampler()
        self.todo: list[Callable[[], None]] = []
        self.recorder = Recorder(this_host().pk, self.todo.append)
        self.at = float(int(time.time()) // 600 * 600)
        self.ticks = 0

    def sample(self) -> None:
        self.ticks += 1
        self.usages = sum_by_program(self.sampler.sample(self.roots, with_extras=turn_of(self.ticks)))

    def record(self) -> None:
        self.recorder.add(self.at, self.at + settings.SAMPLE_SECONDS, self.usages)
        self.at += settings.SAMPLE_SECONDS
        while self.todo:
            with transaction.atomic():
                self.todo.pop(0)()

    def forget(self) -> None:
        """As if every process had been busy since the last tick: each is read and counted anew."""
        self.sampler._reader._lines.clear()  # type: ignore[attr-defined]  # of the Linux reader

    def work(self) -> None:
        """As if every program had used some CPU time, so that nothing may wait for the end of the interval."""
        self.usages = {program: usage._replace(cpu_ms=10) for program, usage in self.usages.items()}


def stored_bytes() -> int:
    """Of all tables and indexes together."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT (page_count - freelist_count) * page_size FROM pragma_page_count(), "
                       "pragma_freelist_count(), pragma_page_size()")  # fmt: skip
        return int(cursor.fetchone()[0])


def psutil_loop(pids: list[int]) -> Callable[[], None]:
    """What its documentation shows for watching processes: one `oneshot` each for CPU, memory and threads."""
    known = [psutil.Process(pid) for pid in pids]

    def look() -> None:
        for process in known:
            with process.oneshot():
                process.cpu_percent()
                process.memory_info()
                process.num_threads()

    return look


def main(pids: list[int]) -> dict[str, float]:
    ticker = Ticker(roots_of(pids))
    ticker.sample()
    ticker.record()
    asleep, written, busy, written_busy = [], [], [], []
    for _ in range(TICKS):
        time.sleep(LEAST_PAUSE)
        asleep.append(cpu_ms(ticker.sample))
        written.append(cpu_ms(ticker.record))
    for _ in range(TICKS):
        time.sleep(LEAST_PAUSE)
        ticker.forget()
        busy.append(cpu_ms(ticker.sample))
        ticker.work()
        written_busy.append(cpu_ms(ticker.record))
    look = psutil_loop(pids)
    look()
    theirs = [cpu_ms(look) for _ in range(TICKS)]
    before, points = stored_bytes(), ResourceUsage.objects.count()
    for _ in range(round(RECORDED_MINUTES * 60 / settings.SAMPLE_SECONDS)):
        ticker.record()
    points = ResourceUsage.objects.count() - points
    return {
        "processes": len(pids),
        "sample": statistics.median(asleep),
        "sample_all_anew": statistics.median(busy),
        "write": statistics.mean(written),  # a few of them also build the coarser tiers
        "write_all_anew": statistics.mean(written_busy),
        "psutil": statistics.median(theirs),
        "points": points,
        "bytes_per_point": (stored_bytes() - before) / points,
        "minutes": ResourceUsageMinute.objects.count(),
    }


def run() -> None:
    json.dump(main([int(word) for word in sys.stdin.read().split()]), sys.stdout)
