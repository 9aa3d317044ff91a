"""The history that a real agent records of real programs."""

from __future__ import annotations

import os
import sys
import time
from itertools import pairwise

import psutil
import pytest
from django.db.models import Sum

from core.tests.databases import locked_database
from metrics.models import AgentVitals, HostUsage, ResourceUsage, ResourceUsageMinute
from metrics.storage.recorder import Recorder
from metrics.tests.fake_writer import Writer
from programs.hosts import this_host
from programs.models import Program
from programs.states import Action
from programs.tests.actors import AgentBox, ask, define, wait_for, wait_state

INTERVAL = 1
KILLS = int(os.environ.get("MONITOR_TEST_SAMPLING_KILLS", "6"))  # 50 for the long run, see CONTRIBUTING
BURN_HALF_A_CORE = """
import time
while time.process_time() < 2.5:
    begun = time.perf_counter()
    until = time.process_time() + 0.05
    while time.process_time() < until: pass
    time.sleep(time.perf_counter() - begun)
print(1, flush=True)
time.sleep(600)
"""
LEAK_A_MEGABYTE_A_SECOND = """
import time
held, begun = [], time.monotonic()
while len(held) < 600:
    if time.monotonic() - begun > len(held) / 10: held.append(b'x' * 100_000)
    time.sleep(0.01)
"""
FORK_SHORT_LIVED_CHILDREN = """
import subprocess, sys, time
for _ in range(25):
    subprocess.run([sys.executable, '-S', '-c', 'import time\\nwhile time.process_time() < 0.08: pass'])
print(1, flush=True)
time.sleep(600)
"""


def python(name: str, code: str) -> Program:
    return define(name, f"{sys.executable} -c '{code.strip()}'" if "'" not in code else quoted(code))


def quoted(code: str) -> str:
    escaped = code.strip().replace("\\", "\\\\").replace('"', '\\"')
    return f'{sys.executable} -c "{escaped}"'


def start(box: AgentBox) -> AgentBox:
    return box.start(RECORD_SECONDS=str(INTERVAL))


def recorded_cpu(program: Program) -> float:
    """Seconds, over all points."""
    total = ResourceUsage.objects.filter(program=program).aggregate(total=Sum("cpu_ms"))["total"]
    return (total or 0) / 1000


def accounted_cpu(program: Program) -> float:
    """Seconds, as the kernel counts them for the main process and its reaped children."""
    times = psutil.Process(wait_state(program, "running").pid).cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def times(program: Program) -> list[int]:
    points = ResourceUsage.objects.filter(program=program).order_by("timestamp")
    return list(points.values_list("timestamp", flat=True))


def await_idle(program: Program, agent: AgentBox) -> None:
    """Waits until the program printed that its work is done, and a later second without CPU was recorded."""
    log = agent.folder / "logs" / str(program.pk) / "0.log"
    wait_for(lambda: log.exists() and log.read_text(), agent)
    idle = ResourceUsage.objects.filter(program=program, timestamp__gt=time.time(), cpu_ms=0)
    wait_for(idle.exists, agent)


def test_a_real_load_is_measured_within_five_percent_of_the_kernel(box: AgentBox) -> None:
    agent = start(box)
    busy = python("busy", BURN_HALF_A_CORE)
    leaky = python("leaky", LEAK_A_MEGABYTE_A_SECOND)
    forking = python("forking", FORK_SHORT_LIVED_CHILDREN)
    for program in (busy, forking):
        await_idle(program, agent)
        assert recorded_cpu(program) > 1.8
        assert recorded_cpu(program) == pytest.approx(accounted_cpu(program), rel=0.05)
    points = list(ResourceUsage.objects.filter(program=leaky).order_by("timestamp"))[1:-1]
    seconds = points[-1].timestamp - points[0].timestamp
    grown = points[-1].memory_last - points[0].memory_last
    assert grown / seconds == pytest.approx(1_000_000, rel=0.05)
    rss = psutil.Process(wait_state(leaky, "running").pid).memory_info().rss
    assert points[-1].memory_last == pytest.approx(rss, rel=0.25)  # it has grown since


def test_an_agent_killed_again_and_again_leaves_no_gap_and_no_duplicate(box: AgentBox) -> None:
    program = define("steady", f"{sys.executable} -c 'import time\nwhile True: time.sleep(0.01)'")
    longest_pause = 0.0
    for number in range(KILLS):
        down_since = time.monotonic()
        start(box)
        seen = len(times(program))
        wait_for(lambda: len(times(program)) > seen + 1, box)  # noqa: B023
        longest_pause = max(longest_pause, time.monotonic() - down_since)
        time.sleep(0.13 * (number % 6))
        box.kill()
    found = times(program)
    assert len(found) == len(set(found))
    assert max(later - earlier for earlier, later in pairwise(found)) <= longest_pause + INTERVAL
    for point in ResourceUsage.objects.filter(program=program):
        assert 0 < point.covered_ms <= 1000 * INTERVAL + 250
        assert 0 <= point.cpu_min <= point.cpu_last <= point.cpu_max
        assert point.memory_min * point.count <= point.memory_sum <= point.memory_max * point.count


def test_minutes_with_killed_agents_are_rolled_up_exactly(box: AgentBox, writer: Writer) -> None:
    program = define("steady", "sleep 600")
    for _ in range(3):
        start(box)
        seen = len(times(program))
        wait_for(lambda: len(times(program)) > seen + 1, box)  # noqa: B023
        box.kill()
    later = time.time() + 60
    Recorder(this_host().pk, writer.put_batch).add(later, later, {})
    writer.drain()
    for name in ("count", "covered_ms", "cpu_ms", "memory_sum"):
        totals = [model.objects.aggregate(total=Sum(name)) for model in (ResourceUsage, ResourceUsageMinute)]
        assert totals[0] == totals[1]


def test_a_stopped_program_leaves_a_gap_instead_of_zeros(box: AgentBox) -> None:
    agent = start(box)
    program = define("steady", "sleep 600")
    wait_for(lambda: len(times(program)) > 1, agent)
    ask(program, Action.STOP)
    wait_state(program, "stopped")
    ended = time.time()
    wait_for(lambda: HostUsage.objects.filter(timestamp__gt=ended + 2).exists(), agent)
    ask(program, Action.START)
    wait_for(lambda: times(program)[-1] > ended + 1, agent)
    assert not [at for at in times(program) if ended < at < ended + 1]


def test_points_of_a_database_outage_are_written_later(box: AgentBox) -> None:
    agent = start(box)
    program = define("steady", "sleep 600")
    wait_for(lambda: times(program), agent)
    with locked_database():
        blocked_at = int(time.time())
        time.sleep(4)
    wait_for(lambda: times(program)[-1] > blocked_at + 5, agent)
    assert set(range(blocked_at, blocked_at + 5)) <= set(times(program))


def test_a_stopped_agent_flushes_its_points(box: AgentBox) -> None:
    agent = start(box)
    program = define("steady", "sleep 600")
    wait_for(lambda: times(program), agent)
    stopped = time.time()
    assert agent.stop() == 0
    assert times(program)[-1] >= stopped - 2


def test_the_agent_records_its_vitals(box: AgentBox) -> None:
    agent = start(box)
    vitals = wait_for(AgentVitals.objects.filter(ticks__gt=2).first, agent)
    assert vitals.tick_lag_seconds_max < 5
    assert vitals.tick_seconds > 0
    assert vitals.dropped_points == 0
