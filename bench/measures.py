"""The measurements. Each takes a launched contender and gives figures by their key in the table."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import processes
from bench.contender import Contender, StatusTiming
from bench.waiting import BenchError, wait_until
from bench.workload import Flood, Starters, check_log

Figures = dict[str, float | None]

MEGABYTE = 1_000_000
# The next kill does not wait for the last successor: its moment would then hang on the tick of managers that poll.
KILL_GAP_SECONDS = (0.05, 1.05)
REST_SECONDS = 3.0


@dataclass(frozen=True)
class Plan:
    """How much of everything one run does."""

    programs: int = 100
    kills: int = 20
    status_calls: int = 50
    settle_seconds: float = 2
    """The pause in which the work of one step ends, so that the next is measured alone."""
    idle_seconds: float = 20
    flood_lines: int = 1_000_000
    flood_bytes_per_second: int = 10 * MEGABYTE
    flood_rotations: int = 10


def start(contender: Contender, starters: Starters) -> Figures:
    """Seconds from the command to the last program's own first line."""
    began = time.time_ns()
    contender.start_all()
    return {"start_seconds": (starters.wait_until_started(seconds=60) - began) / 1e9}


def restart(starters: Starters, kills: int) -> Figures:
    """Milliseconds from SIGKILL to the successor's first line, of programs each killed once."""
    dice = random.Random(1)
    killed = []
    for program in dice.sample(starters.programs, kills):
        time.sleep(dice.uniform(*KILL_GAP_SECONDS))
        before = starters.starts(program)
        killed.append((program, len(before), time.time_ns()))
        os.kill(before[-1].pid, signal.SIGKILL)
    for program, count, _ in killed:
        starters.wait_for_successor(program, count, seconds=20)
    milliseconds = [(starters.starts(program)[count].time_ns - at) / 1e6 for program, count, at in killed]
    return {"restart_median_ms": statistics.median(milliseconds), "restart_max_ms": max(milliseconds)}


def status(contender: Contender, plan: Plan) -> Figures:
    """Median milliseconds of the API's status calls; None where there is no such call."""
    timing = contender.time_status(plan.status_calls)
    usage = timing if contender.status_has_usage else contender.time_usage(plan.status_calls)
    return {"status_median_ms": median(timing, plan.programs), "usage_median_ms": median(usage, plan.programs)}


def median(timing: StatusTiming | None, programs: int) -> float | None:
    if timing is None:
        return None
    if timing.programs != programs:
        raise BenchError(f"the status of {programs} programs was asked, {timing.programs} came")
    return statistics.median(timing.milliseconds)


def idle(contender: Contender, pids: set[int], seconds: float) -> Figures:
    """Percent of one core that the manager uses while nothing happens, and what all others on the machine use."""
    core_before, stack_before = cpu(contender, pids)
    busy_before, began = processes.machine_busy_seconds(), time.monotonic()
    time.sleep(seconds)
    core_after, stack_after = cpu(contender, pids)
    busy_after, elapsed = processes.machine_busy_seconds(), time.monotonic() - began
    core, stack, busy = core_after - core_before, stack_after - stack_before, busy_after - busy_before
    return {
        "idle_percent": core / elapsed * 100,
        "idle_stack_percent": stack / elapsed * 100,
        "others_percent": max(0.0, busy - stack) / elapsed * 100,
    }


def cpu(contender: Contender, pids: set[int]) -> tuple[float, float]:
    """CPU seconds so far of the supervising processes, and of the whole stack."""
    core, stack = own_processes(contender, pids)
    return processes.cpu_seconds(core), processes.cpu_seconds(stack)


def own_processes(
    contender: Contender, pids: set[int]
) -> tuple[Sequence[psutil.Process], Sequence[psutil.Process]]:
    stack = processes.tree(contender.root(), without=pids)
    return contender.core(stack), stack


def memory(contender: Contender, pids: set[int]) -> Figures:
    core, stack = (processes.memory(part) for part in own_processes(contender, pids))
    return {
        "memory_pss_mb": core.pss / MEGABYTE,
        "memory_rss_mb": core.rss / MEGABYTE,
        "stack_pss_mb": stack.pss / MEGABYTE,
        "stack_rss_mb": stack.rss / MEGABYTE,
    }


def flood(contender: Contender, load: Flood, plan: Plan) -> Figures:
    """What 100 MB of output cost the manager, and what its rotated logs still hold of it."""
    contender.start_all()
    wait_until(lambda: bool(load.pids()), seconds=20, failing="the flooding program did not start")
    time.sleep(plan.settle_seconds)
    before, _ = cpu(contender, load.pids())
    load.go()
    wait_until(load.is_written, seconds=60, failing="the flooding program could not write its lines", every=0.1)
    wait_until_logged(contender, load)
    after, _ = cpu(contender, load.pids())
    files = contender.logs(load.program)
    check = check_log(files, load.lines)
    return {
        "flood_rotations": len(files) - 1,
        "flood_lost": check.lost,
        "flood_damaged": check.repeated + check.broken,
        "flood_cpu_seconds": after - before,
    }


def wait_until_logged(contender: Contender, load: Flood) -> None:
    """Until the logs are at rest: a manager may still hold lines it has read, or look only every so often."""
    last: tuple[list[tuple[Path, int]], float] = ([], 0)

    def is_at_rest() -> bool:
        nonlocal last
        files = sizes(contender.logs(load.program))
        if files != last[0]:
            last = (files, time.monotonic())
        return time.monotonic() - last[1] > REST_SECONDS

    wait_until(is_at_rest, seconds=30, failing="the logs did not come to rest", every=0.1)


def sizes(files: Sequence[Path]) -> list[tuple[Path, int]]:
    """The size of each file that is there: one may be renamed between the listing and the look."""
    found = []
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            found.append((path, path.stat().st_size))
    return found
