"""Real processes, held against what the kernel itself accounts for them."""

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

from metrics.sampling import Root, Sampler, TreeUsage
from metrics.sampling import sampler as sampler_module
from metrics.sampling.base import Reader
from metrics.sampling.linux import LinuxReader
from metrics.sampling.portable import PortableReader
from programs.supervisor import platform
from programs.supervisor.platform import portable
from programs.tests.actors import wait_for

KEY = (1, 0)
BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"


class Program:
    """A process in a session of its own, as the agent starts them, and a sampler that looks at it."""

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
        self.root = Root(who.pid, who.kernel_start, marker)

    def said(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def go_on(self) -> None:
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


def look(sampler: Sampler, program: Program, **more: object) -> TreeUsage:
    """Samples once a percentage can be made; nothing to compare with is no answer."""
    time.sleep(0.12)
    return sampler.sample({KEY: program.root}, **more)[KEY]  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums are right however short the time; it is the percentages that need a while."""
    monkeypatch.setattr(sampler_module, "SHORTEST_SECONDS", 0.1)


@pytest.fixture(params=["linux", "portable"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Either way to read, with the start times that go with it."""
    if request.param == "linux":
        return LinuxReader()
    for name in ("identity", "kernel_seconds"):
        monkeypatch.setattr(platform, name, getattr(portable, name))
    return PortableReader()


def test_a_program_that_burns_is_measured_as_the_kernel_accounts_for_it(
    reader: Reader, run: type[Program]
) -> None:
    sampler = Sampler(reader)
    program = run(BURN.format(seconds=30))
    total = sum(look(sampler, program).cpu_ms for _ in range(5)) / 1000
    times = psutil.Process(program.process.pid).cpu_times()
    assert total == pytest.approx(times.user + times.system, abs=0.05)


def test_children_that_live_shorter_than_a_tick_are_counted(reader: Reader, run: type[Program]) -> None:
    sampler = Sampler(reader)
    program = run(
        "import os, subprocess, sys\n"
        f"for _ in range(10): subprocess.run([sys.executable, '-c', {BURN.format(seconds=0.05)!r}])\n"
        "print(sum(os.times()[:4])); input()"
    )
    total = look(sampler, program).cpu_ms
    accounted = float(program.said())
    total += look(sampler, program).cpu_ms
    assert accounted > 0.5
    assert total / 1000 == pytest.approx(accounted, rel=0.05)


def test_an_old_child_that_is_waited_for_makes_no_spike(run: type[Program]) -> None:
    sampler = Sampler()
    program = run(
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {BURN.format(seconds=0.6)!r}])\n"
        "print('started'); child.wait(); print('waited'); input()"
    )
    program.said()
    usages: list[TreeUsage] = []
    while not usages or psutil.Process(program.process.pid).children():
        usages.append(look(sampler, program))
    usages.append(look(sampler, program))
    assert sum(usage.cpu_ms for usage in usages) == pytest.approx(650, abs=120)
    assert max(usage.cpu_percent for usage in usages) < 150


def test_a_child_that_nobody_waits_for_is_counted_once(run: type[Program]) -> None:
    """With SIGCHLD ignored the kernel throws a child's time away."""
    sampler = Sampler()
    program = run(
        "import signal, subprocess, sys\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        f"child = subprocess.Popen([sys.executable, '-c', {BURN.format(seconds=0.6)!r}])\n"
        "print(child.pid); input()"
    )
    child = int(program.said())
    usages = [look(sampler, program)]
    while psutil.pid_exists(child):
        usages.append(look(sampler, program))
    usages.append(look(sampler, program))
    counted = sum(usage.cpu_ms for usage in usages)
    assert 200 < counted < 800
    assert all(usage.cpu_ms >= 0 for usage in usages)


def test_a_grandchild_that_left_for_a_session_of_its_own_stays_counted(run: type[Program]) -> None:
    sampler = Sampler()
    burn = f"import os; os.setsid(); os.fork() and os._exit(0)\n{BURN.format(seconds=30)}"
    program = run(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\nprint('gone'); input()",
        marker="some-installation/1/0/abc",
    )
    program.said()
    look(sampler, program)
    stray = look(sampler, program)
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
    program.said()
    found = look(Sampler(), program)
    everyone = [psutil.Process(program.process.pid), *psutil.Process(program.process.pid).children()]
    assert found.memory_bytes == pytest.approx(sum(p.memory_info().rss for p in everyone), rel=0.05)
    assert found.threads == sum(p.num_threads() for p in everyone) == 3


def test_open_files_and_written_bytes_come_when_asked_for(
    reader: Reader, run: type[Program], tmp_path: Path
) -> None:
    sampler = Sampler(reader)
    path = tmp_path / "written"
    program = run(
        "import os\nfiles = [open('/dev/null') for _ in range(20)]\n"
        f"file = os.open({str(path)!r}, os.O_CREAT | os.O_WRONLY)\n"
        "print('ready'); input(); os.write(file, b'x' * 3_000_000); os.fsync(file); print('done'); input()"
    )
    program.said()
    assert look(sampler, program).open_files is None
    before = look(sampler, program, with_extras=lambda key: True)
    program.go_on()
    program.said()
    # Writing takes the kernel less CPU than some systems count, and who seems to sleep is skipped for a while.
    looks = [
        look(sampler, program, with_extras=lambda key: True) for _ in range(1 + sampler_module.EXTRAS_SKIPPED)
    ]
    assert before.open_files == psutil.Process(program.process.pid).num_fds()
    assert sum(after.write_bytes or 0 for after in looks) == pytest.approx(3_000_000, rel=0.05)


def test_an_agent_that_comes_later_counts_from_its_first_look(run: type[Program]) -> None:
    program = run(BURN.format(seconds=30))
    time.sleep(0.5)
    sampler = Sampler()
    first = look(sampler, program)
    assert (first.cpu_ms, first.covered_ms) == (0, 0)
    assert first.memory_bytes > 0
    assert look(sampler, program).covered_ms > 100


def test_a_program_that_started_since_the_last_look_counts_from_its_start(run: type[Program]) -> None:
    sampler = Sampler()
    sampler.sample({})
    time.sleep(0.3)
    program = run(BURN.format(seconds=30))
    found = look(sampler, program)
    times = psutil.Process(program.process.pid).cpu_times()
    assert found.covered_ms < 600
    assert found.cpu_ms / 1000 == pytest.approx(times.user + times.system, abs=0.05)


def test_a_program_of_the_last_moment_waits_for_the_next_look(run: type[Program]) -> None:
    sampler = Sampler()
    program = run(BURN.format(seconds=30))
    # Nothing, unless a busy machine let it grow older than a moment before the first look.
    assert sampler.sample({KEY: program.root})[KEY].covered_ms < 1000
    assert look(sampler, program).cpu_ms > 0


def test_programs_do_not_mix(run: type[Program]) -> None:
    sampler = Sampler()
    busy, idle = run(BURN.format(seconds=30)), run("input()")
    roots = {(1, 0): busy.root, (2, 0): idle.root}
    time.sleep(0.3)
    sampler.sample(roots)
    time.sleep(0.3)
    found = sampler.sample(roots)
    assert found[2, 0].cpu_percent < 5 < found[1, 0].cpu_percent


def test_a_root_that_ended_or_whose_pid_is_anothers_has_no_use(run: type[Program]) -> None:
    sampler = Sampler()
    program = run("input()")
    stranger = program.root._replace(kernel_start=program.root.kernel_start - 1)
    assert sampler.sample({KEY: stranger}) == {}
    program.end()
    assert sampler.sample({KEY: program.root}) == {}


def test_what_is_taken_over_brings_its_children_along(run: type[Program]) -> None:
    """Until then they had been noted as nobody's."""
    program = run(
        "import subprocess, sys\n"
        "nobody = [sys.executable, '-c', 'input()']\n"
        "child = subprocess.Popen(nobody, stdin=subprocess.PIPE, start_new_session=True)\n"
        "print('ready'); input()"
    )
    program.said()
    sampler = Sampler()
    sampler.sample({})
    assert look(sampler, program).threads == 2


def test_the_readers_agree_about_everyone() -> None:
    direct, portably = LinuxReader().read(), PortableReader().read()
    ours = os.getpid()
    assert portable.identity(ours) is not None
    assert direct[ours].ppid == portably[ours].ppid == os.getppid()
    assert direct[ours].session == portably[ours].session == os.getsid(0)
    assert len(direct.keys() ^ portably.keys()) < 20


def test_a_reader_lets_go_of_the_files_of_those_that_ended(run: type[Program]) -> None:
    reader = LinuxReader()
    program = run("input()")
    reader.read()
    before = psutil.Process().num_fds()
    assert reader.read()[program.process.pid]
    program.end()
    reader.read()
    assert psutil.Process().num_fds() <= before + 5  # others came and went as well
    reader.close()
    assert psutil.Process().num_fds() < before - 5


def test_a_name_full_of_brackets_and_spaces_is_read_right(run: type[Program], tmp_path: Path) -> None:
    odd = tmp_path / ") R 1 (x"
    odd.symlink_to(sys.executable)
    process = subprocess.Popen([str(odd), "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    sample = LinuxReader().read()[process.pid]
    process.kill()
    process.communicate()
    assert (sample.ppid, sample.session, sample.threads) == (os.getpid(), process.pid, 1)


def test_a_stopped_program_keeps_its_memory_and_uses_nothing(run: type[Program]) -> None:
    sampler = Sampler()
    program = run(BURN.format(seconds=30))
    look(sampler, program)
    os.kill(program.process.pid, signal.SIGSTOP)
    wait_for(lambda: psutil.Process(program.process.pid).status() == psutil.STATUS_STOPPED, "the stop")
    look(sampler, program)
    frozen = look(sampler, program)
    assert frozen.cpu_percent == 0
    assert frozen.memory_bytes > 0
