"""The measurements. Each takes a launched process manager and returns figures by their key in the table."""

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
from bench.managers.base import ProcessManager, StatusTiming
from bench.waiting import BenchError, wait_until
from bench.workload import LogFlood, Sleepers, check_log

Figures = dict[str, float | None]

MEGABYTE = 1_000_000
# The next kill does not wait for the last restart. Otherwise it would follow the rhythm of managers that poll.
KILL_GAP_SECONDS = (0.05, 1.05)
QUIET_SECONDS = 3.0


@dataclass(frozen=True)
class Plan:
    """The sizes of one run."""

    programs: int = 100
    kills: int = 20
    status_calls: int = 50
    settle_seconds: float = 2
    """Pause after a step, so that its remaining work does not count for the next one."""
    idle_seconds: float = 20
    flood_lines: int = 1_000_000
    flood_bytes_per_second: int = 10 * MEGABYTE
    flood_rotations: int = 10


def start(manager: ProcessManager, sleepers: Sleepers) -> Figures:
    """Seconds from the command to the start record of the last program."""
    began = time.time_ns()
    manager.start_all()
    return {"start_seconds": (sleepers.wait_until_started(seconds=60) - began) / 1e9}


def restart(sleepers: Sleepers, kills: int) -> Figures:
    """Milliseconds from SIGKILL to the next start record, of `kills` programs killed once each."""
    dice = random.Random(1)
    killed = []
    for program in dice.sample(sleepers.programs, kills):
        time.sleep(dice.uniform(*KILL_GAP_SECONDS))
        before = sleepers.starts(program)
        killed.append((program, len(before), time.time_ns()))
        os.kill(before[-1].pid, signal.SIGKILL)
    for program, count, _ in killed:
        sleepers.wait_for_restart(program, count, seconds=20)
    milliseconds = [(sleepers.starts(program)[count].time_ns - at) / 1e6 for program, count, at in killed]
    return {"restart_median_ms": statistics.median(milliseconds), "restart_max_ms": max(milliseconds)}


def status(manager: ProcessManager, plan: Plan) -> Figures:
    """Median milliseconds of the API's status calls; None if there is no such call."""
    timing = manager.time_status(plan.status_calls)
    usage = timing if manager.status_has_usage else manager.time_usage(plan.status_calls)
    return {"status_median_ms": median(timing, plan.programs), "usage_median_ms": median(usage, plan.programs)}


def median(timing: StatusTiming | None, programs: int) -> float | None:
    if timing is None:
        return None
    if timing.programs != programs:
        raise BenchError(f"the status call returned {timing.programs} programs instead of {programs}")
    return statistics.median(timing.milliseconds)


def idle(manager: ProcessManager, pids: set[int], seconds: float) -> Figures:
    """Percent of one core that the manager uses while idle, and that other processes of the machine use."""
    core_before, stack_before = cpu(manager, pids)
    busy_before, began = processes.machine_busy_seconds(), time.monotonic()
    time.sleep(seconds)
    core_after, stack_after = cpu(manager, pids)
    busy_after, elapsed = processes.machine_busy_seconds(), time.monotonic() - began
    core, stack, busy = core_after - core_before, stack_after - stack_before, busy_after - busy_before
    return {
        "idle_percent": core / elapsed * 100,
        "idle_stack_percent": stack / elapsed * 100,
        "others_percent": max(0.0, busy - stack) / elapsed * 100,
    }


def cpu(manager: ProcessManager, pids: set[int]) -> tuple[float, float]:
    """CPU seconds so far of the supervising processes, and of all processes of the manager."""
    core, stack = manager_processes(manager, pids)
    return processes.cpu_seconds(core), processes.cpu_seconds(stack)


def manager_processes(
    manager: ProcessManager, pids: set[int]
) -> tuple[Sequence[psutil.Process], Sequence[psutil.Process]]:
    """The supervising processes, and all processes. `pids` are the programs, which do not count."""
    stack = processes.tree(manager.root_process(), without=pids)
    return manager.supervising(stack), stack


def memory(manager: ProcessManager, pids: set[int]) -> Figures:
    core, stack = (processes.memory(part) for part in manager_processes(manager, pids))
    return {
        "memory_pss_mb": core.pss / MEGABYTE,
        "memory_rss_mb": core.rss / MEGABYTE,
        "stack_pss_mb": stack.pss / MEGABYTE,
        "stack_rss_mb": stack.rss / MEGABYTE,
    }


def log_flood(manager: ProcessManager, flood: LogFlood, plan: Plan) -> Figures:
    """CPU time that 100 MB of output cost the manager, and the lines missing from its rotated logs."""
    manager.start_all()
    wait_until(lambda: bool(flood.pids()), seconds=20, failing="the flooding program did not start")
    time.sleep(plan.settle_seconds)
    before, _ = cpu(manager, flood.pids())
    flood.begin()
    wait_until(flood.is_written, seconds=60, failing="the flooding program could not write its lines", every=0.1)
    wait_until_logged(manager, flood)
    after, _ = cpu(manager, flood.pids())
    files = manager.logs(flood.program)
    check = check_log(files, flood.lines)
    return {
        "flood_rotations": len(files) - 1,
        "flood_lost": check.lost,
        "flood_damaged": check.repeated + check.broken,
        "flood_cpu_seconds": after - before,
    }


def wait_until_logged(manager: ProcessManager, flood: LogFlood) -> None:
    """Wait until the logs stop changing: a manager may buffer lines, or poll its logs."""
    last: tuple[list[tuple[Path, int]], float] = ([], 0)

    def is_unchanged() -> bool:
        nonlocal last
        files = sizes(manager.logs(flood.program))
        if files != last[0]:
            last = (files, time.monotonic())
        return time.monotonic() - last[1] > QUIET_SECONDS

    wait_until(is_unchanged, seconds=30, failing="the logs did not stop changing", every=0.1)


def sizes(files: Sequence[Path]) -> list[tuple[Path, int]]:
    found = []
    # A file may be renamed between the listing and `stat`.
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            found.append((path, path.stat().st_size))
    return found
