"""Samples of real processes, compared with the kernel's own accounting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from metrics.sampling import RootProcess, Sampler, TreeUsage
from metrics.sampling import sampler as sampler_module
from metrics.sampling.base import ProcessReader
from metrics.sampling.linux import LinuxReader
from metrics.sampling.portable import PortableReader
from programs.supervisor import platform
from programs.supervisor.platform import portable
from programs.tests.actors import wait_for

KEY = (1, 0)
BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"


class Program:
    """A process in its own session, as the agent starts it."""

    def __init__(self, code: str, marker: str = "") -> None:
        environment = {**os.environ, platform.MARKER: marker} if marker else dict(os.environ)
        command = [sys.executable, "-u", "-c", code]
        self.process = subprocess.Popen(
            command,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        who = platform.identity(self.process.pid)
        assert who is not None
        self.root = RootProcess(who.pid, who.kernel_start, marker)

    def read_line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def send_line(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def run() -> Iterator[type[Program]]:
    started: list[Program] = []

    class Started(Program):
        def __init__(self, code: str, marker: str = "") -> None:
            super().__init__(code, marker)
            started.append(self)

    yield Started
    for program in started:
        program.end()


def sample_soon(sampler: Sampler, program: Program, **more: object) -> TreeUsage:
    """Samples after enough time for a percentage."""
    time.sleep(0.12)
    return sampler.sample({KEY: program.root}, **more)[KEY]  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only percentages need a longer time; sums are exact for any."""
    monkeypatch.setattr(sampler_module, "MIN_SECONDS", 0.1)


@pytest.fixture(params=["linux", "portable"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ProcessReader:
    """Both readers, each with the start times that match it."""
    if request.param == "linux":
        return LinuxReader()
    for name in ("identity", "kernel_seconds"):
        monkeypatch.setattr(platform, name, getattr(portable, name))
    return PortableReader()


def test_cpu_time_of_a_busy_program_matches_the_kernel(reader: ProcessReader, run: type[Program]) -> None:
    sampler = Sampler(reader)
    program = run(BURN.format(seconds=30))
    total = sum(sample_soon(sampler, program).cpu_ms for _ in range(5)) / 1000
    times = psutil.Process(program.process.pid).cpu_times()
    assert total == pytest.approx(times.user + times.system, abs=0.05)


def test_children_that_live_shorter_than_a_tick_are_counted(reader: ProcessReader, run: type[Program]) -> None:
    sampler = Sampler(reader)
    program = run(
        "import os, subprocess, sys\n"
        f"for _ in range(10): subprocess.run([sys.executable, '-c', {BURN.format(seconds=0.05)!r}])\n"
        "print(sum(os.times()[:4])); input()"
    )
    total = sample_soon(sampler, program).cpu_ms
    accounted = float(program.read_line())
    total += sample_soon(sampler, program).cpu_ms
    assert accounted > 0.5
    assert total / 1000 == pytest.approx(accounted, rel=0.05)


def test_reaping_an_old_child_makes_no_spike(run: type[Program]) -> None:
    sampler = Sampler()
    program = run(
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {BURN.format(seconds=0.6)!r}])\n"
        "print('started'); child.wait(); print('waited'); input()"
    )
    program.read_line()
    usages: list[TreeUsage] = []
    while not usages or psutil.Process(program.process.pid).children():
        usages.append(sample_soon(sampler, program))
    usages.append(sample_soon(sampler, program))
    assert sum(usage.cpu_ms for usage in usages) == pytest.approx(650, abs=120)
    assert max(usage.cpu_percent for usage in usages) < 150


def test_a_child_that_is_never_reaped_is_counted_once(run: type[Program]) -> None:
    # With SIGCHLD ignored, the kernel discards the CPU time of children.
    sampler = Sampler()
    program = run(
        "import signal, subprocess, sys\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        f"child = subprocess.Popen([sys.executable, '-c', {BURN.format(seconds=0.6)!r}])\n"
        "print(child.pid); input()"
    )
    child = int(program.read_line())
    usages = [sample_soon(sampler, program)]
    while psutil.pid_exists(child):
        usages.append(sample_soon(sampler, program))
    usages.append(sample_soon(sampler, program))
    counted = sum(usage.cpu_ms for usage in usages)
    assert 200 < counted < 800
    assert all(usage.cpu_ms >= 0 for usage in usages)


def test_a_daemonized_grandchild_stays_counted(run: type[Program]) -> None:
    sampler = Sampler()
    burn = f"import os; os.setsid(); os.fork() and os._exit(0)\n{BURN.format(seconds=30)}"
    program = run(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\nprint('gone'); input()",
        marker="some-installation/1/0/abc",
    )
    program.read_line()
    sample_soon(sampler, program)
    stray = sample_soon(sampler, program)
    daemons = [p for p in psutil.process_iter() if platform.marker_of(p.pid) == program.root.marker]
    for daemon in daemons:
        if daemon.pid != program.process.pid:
            daemon.kill()
    assert stray.cpu_percent > 10
    assert stray.threads == 2


def test_memory_and_threads_are_those_of_the_tree(run: type[Program]) -> None:
    program = run(
        "import threading, subprocess, sys\n"
        "held = bytearray(50_000_000)\n"
        "threading.Thread(target=input).start()\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "print('ready')"
    )
    program.read_line()
    found = sample_soon(Sampler(), program)
    everyone = [psutil.Process(program.process.pid), *psutil.Process(program.process.pid).children()]
    assert found.memory_bytes == pytest.approx(sum(p.memory_info().rss for p in everyone), rel=0.05)
    assert found.threads == sum(p.num_threads() for p in everyone) == 3


def test_open_files_and_written_bytes_are_read_on_request(
    reader: ProcessReader, run: type[Program], tmp_path: Path
) -> None:
    sampler = Sampler(reader)
    path = tmp_path / "written"
    program = run(
        "import os\nfiles = [open('/dev/null') for _ in range(20)]\n"
        f"file = os.open({str(path)!r}, os.O_CREAT | os.O_WRONLY)\n"
        "print('ready'); input(); os.write(file, b'x' * 3_000_000); os.fsync(file); print('done'); input()"
    )
    program.read_line()
    assert sample_soon(sampler, program).open_files is None
    before = sample_soon(sampler, program, with_extras=lambda key: True)
    program.send_line()
    program.read_line()
    # The write may take less CPU than the kernel counts; a process that seems to sleep is skipped for a while.
    samples = [
        sample_soon(sampler, program, with_extras=lambda key: True)
        for _ in range(1 + sampler_module.MAX_EXTRAS_SKIPPED)
    ]
    assert before.open_files == psutil.Process(program.process.pid).num_fds()
    assert sum(after.write_bytes or 0 for after in samples) == pytest.approx(3_000_000, rel=0.05)


def test_a_program_that_ran_before_the_agent_counts_from_its_first_sample(run: type[Program]) -> None:
    program = run(BURN.format(seconds=30))
    time.sleep(0.5)
    sampler = Sampler()
    first = sample_soon(sampler, program)
    assert (first.cpu_ms, first.covered_ms) == (0, 0)
    assert first.memory_bytes > 0
    assert sample_soon(sampler, program).covered_ms > 100


def test_a_program_that_started_since_the_last_sample_counts_from_its_start(run: type[Program]) -> None:
    sampler = Sampler()
    sampler.sample({})
    time.sleep(0.3)
    program = run(BURN.format(seconds=30))
    found = sample_soon(sampler, program)
    times = psutil.Process(program.process.pid).cpu_times()
    assert found.covered_ms < 600
    assert found.cpu_ms / 1000 == pytest.approx(times.user + times.system, abs=0.05)


def test_a_program_that_just_started_has_no_cpu_until_the_next_sample(run: type[Program]) -> None:
    sampler = Sampler()
    program = run(BURN.format(seconds=30))
    # 0, unless a busy machine delays the first sample beyond MIN_SECONDS.
    assert sampler.sample({KEY: program.root})[KEY].covered_ms < 1000
    assert sample_soon(sampler, program).cpu_ms > 0


def test_programs_are_measured_separately(run: type[Program]) -> None:
    sampler = Sampler()
    busy, idle = run(BURN.format(seconds=30)), run("input()")
    roots = {(1, 0): busy.root, (2, 0): idle.root}
    time.sleep(0.3)
    sampler.sample(roots)
    time.sleep(0.3)
    found = sampler.sample(roots)
    assert found[2, 0].cpu_percent < 5 < found[1, 0].cpu_percent


def test_a_root_that_ended_or_whose_pid_was_reused_has_no_usage(run: type[Program]) -> None:
    sampler = Sampler()
    program = run("input()")
    stranger = program.root._replace(kernel_start=program.root.kernel_start - 1)
    assert sampler.sample({KEY: stranger}) == {}
    program.end()
    assert sampler.sample({KEY: program.root}) == {}


def test_an_adopted_root_brings_its_children(run: type[Program]) -> None:
    # Before, they were recorded as processes without an owner.
    program = run(
        "import subprocess, sys\n"
        "orphan = [sys.executable, '-c', 'input()']\n"
        "child = subprocess.Popen(orphan, stdin=subprocess.PIPE, start_new_session=True)\n"
        "print('ready'); input()"
    )
    program.read_line()
    sampler = Sampler()
    sampler.sample({})
    assert sample_soon(sampler, program).threads == 2


def test_both_readers_report_the_same_processes() -> None:
    direct, portably = LinuxReader().read(), PortableReader().read()
    ours = os.getpid()
    assert portable.identity(ours) is not None
    assert direct[ours].ppid == portably[ours].ppid == os.getppid()
    assert direct[ours].session == portably[ours].session == os.getsid(0)
    assert len(direct.keys() ^ portably.keys()) < 20


def open_files_of(pid: int) -> list[str]:
    """Files below /proc/<pid> that this process has open."""
    links = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [link for link in links if link.startswith(f"/proc/{pid}/")]


def test_the_files_of_ended_processes_are_closed(run: type[Program]) -> None:
    reader = LinuxReader()
    program, other = run("input()"), run("input()")
    reader.read()
    assert open_files_of(program.process.pid) and open_files_of(other.process.pid)
    program.end()
    reader.read()
    assert not open_files_of(program.process.pid)
    reader.close()
    assert not open_files_of(other.process.pid)


def test_a_process_name_with_brackets_and_spaces_is_parsed(run: type[Program], tmp_path: Path) -> None:
    odd = tmp_path / ") R 1 (x"
    odd.symlink_to(sys.executable)
    process = subprocess.Popen([str(odd), "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    sample = LinuxReader().read()[process.pid]
    process.kill()
    process.communicate()
    assert (sample.ppid, sample.session, sample.threads) == (os.getpid(), process.pid, 1)


def test_a_stopped_program_keeps_its_memory_and_uses_no_cpu(run: type[Program]) -> None:
    sampler = Sampler()
    program = run(BURN.format(seconds=30))
    sample_soon(sampler, program)
    os.kill(program.process.pid, signal.SIGSTOP)
    wait_for(lambda: psutil.Process(program.process.pid).status() == psutil.STATUS_STOPPED, "the stop")
    sample_soon(sampler, program)
    frozen = sample_soon(sampler, program)
    assert frozen.cpu_percent == 0
    assert frozen.memory_bytes > 0
