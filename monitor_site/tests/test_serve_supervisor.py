from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from monitor_site.serving.children import Part, RunningPart
from monitor_site.serving.supervisor import Supervisor

from .installation import PATIENCE, Installation, wait_until

# Appends what happens to the file named by $0, and takes $1 seconds to stop.
OBEDIENT = """
trap "sleep $1; echo $PART stopped >> $0; exit 0" TERM
echo "$PART started" >> $0
while :; do sleep 0.02; done
"""
STUBBORN = """
trap "" TERM
sleep 60 & echo "child $!" >> $0
echo "$PART started" >> $0
while :; do sleep 0.02; done
"""
TIED = """
import time
from monitor_site.serving import lifeline
lifeline.hold_from_environment()
print("tied")
time.sleep(60)
"""


class Stage:
    """A supervisor in a process of its own, over shell scripts that write down what happens to them."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.diary = installation.folder / "diary"
        self.parts: list[dict[str, object]] = []

    def add(
        self, name: str, script: str, *, delay: float = 0.0, stop_seconds: float = 3.0, owns: bool = True
    ) -> None:
        argv = ["/bin/sh", "-c", script, str(self.diary), str(delay)]
        part = {"name": name, "argv": argv, "stop_seconds": stop_seconds, "owns_group": owns}
        self.parts.append({**part, "environment": {"PART": name}})

    def open(self) -> psutil.Popen:
        supervisor = self.installation.start("-m", "monitor_site.tests.run_stand_ins", json.dumps(self.parts))
        wait_until(lambda: len(self.lines("started")) == len(self.parts))
        return supervisor

    def lines(self, word: str) -> list[str]:
        text = self.diary.read_text() if self.diary.exists() else ""
        return [line for line in text.splitlines() if word in line]


@pytest.fixture
def stage(empty_installation: Installation) -> Stage:
    return Stage(empty_installation)


def test_a_part_that_is_killed_comes_back(stage: Stage) -> None:
    stage.add("web", OBEDIENT)
    supervisor = stage.open()
    supervisor.children()[0].kill()
    wait_until(lambda: len(stage.lines("web started")) == 2)
    assert "web ended unexpectedly (signal SIGKILL); starting it again in 0.5 s" in stage.installation.printed()


def test_a_part_that_cannot_be_started_leaves_the_others_alone(stage: Stage) -> None:
    stage.add("web", OBEDIENT)
    supervisor = stage.open()
    assert supervisor.is_running()
    stage.parts.insert(0, {"name": "agent", "argv": ["/nowhere/at/all"], "stop_seconds": 1.0})
    other = stage.installation.start("-m", "monitor_site.tests.run_stand_ins", json.dumps(stage.parts))
    wait_until(lambda: len(stage.lines("web started")) == 2)
    wait_until(lambda: stage.installation.printed().count("agent ended unexpectedly") >= 2)
    assert other.is_running()


def test_parts_stop_one_after_the_other(stage: Stage) -> None:
    for name in ("web", "jobs", "agent"):
        stage.add(name, OBEDIENT, delay=0.2)
    supervisor = stage.open()
    supervisor.terminate()
    assert supervisor.wait(PATIENCE) == 0
    assert stage.lines("stopped") == ["web stopped", "jobs stopped", "agent stopped"]
    assert stage.installation.processes() == []


def test_a_part_that_is_late_is_killed_with_its_children(stage: Stage) -> None:
    stage.add("web", STUBBORN, stop_seconds=0.3)
    supervisor = stage.open()
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(PATIENCE) == 0
    wait_until(lambda: stage.installation.processes() == [])
    assert "web did not stop in time and was killed" in stage.installation.printed()


def test_a_late_agent_takes_nothing_with_it(stage: Stage) -> None:
    stage.add("agent", STUBBORN, stop_seconds=0.3, owns=False)
    supervisor = stage.open()
    child = int(stage.lines("child")[0].split()[1])
    supervisor.terminate()
    assert supervisor.wait(PATIENCE) == 0
    assert psutil.pid_exists(child)


def test_time_that_one_part_did_not_need_goes_to_the_next(stage: Stage) -> None:
    stage.add("web", OBEDIENT, stop_seconds=2.0)
    stage.add("jobs", OBEDIENT, delay=1.0, stop_seconds=0.3)
    supervisor = stage.open()
    supervisor.terminate()
    supervisor.wait(PATIENCE)
    assert stage.lines("stopped") == ["web stopped", "jobs stopped"]


def test_a_second_signal_ends_everything_at_once(stage: Stage) -> None:
    stage.add("web", STUBBORN, stop_seconds=300.0)
    stage.add("agent", STUBBORN, stop_seconds=300.0, owns=False)
    supervisor = stage.open()
    supervisor.terminate()
    wait_until(lambda: "Stopping" in stage.installation.printed())
    time.sleep(0.1)  # two signals of one kind that come at once are one to the kernel
    supervisor.terminate()
    assert supervisor.wait(PATIENCE) == 0


def test_parts_notice_that_their_supervisor_was_killed(stage: Stage) -> None:
    part = {"name": "web", "argv": [sys.executable, "-u", "-c", TIED], "stop_seconds": 5.0}
    stage.parts.append(part)
    supervisor = stage.installation.start("-m", "monitor_site.tests.run_stand_ins", json.dumps(stage.parts))
    wait_until(lambda: "tied" in stage.installation.printed())
    supervisor.kill()
    wait_until(lambda: stage.installation.processes() == [])
    assert supervisor.wait(PATIENCE) == -signal.SIGKILL


def started_by_a_shell_that_ignores(name: str, stage: Stage) -> subprocess.Popen[bytes]:
    stage.add("web", OBEDIENT)
    command = f'trap "" {name}; exec "{sys.executable}" -m monitor_site.tests.run_stand_ins "$0"'
    supervisor = subprocess.Popen(
        ["/bin/sh", "-c", command, json.dumps(stage.parts)],
        env=stage.installation.environment,
        start_new_session=True,
    )
    wait_until(lambda: stage.lines("web started"))
    return supervisor


def test_an_ignored_hangup_stays_ignored(stage: Stage) -> None:
    supervisor = started_by_a_shell_that_ignores("HUP", stage)
    supervisor.send_signal(signal.SIGHUP)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(PATIENCE) == 0
    assert stage.lines("stopped") == ["web stopped"]


def test_one_started_in_a_scripts_background_stops_at_sigint(stage: Stage) -> None:
    supervisor = started_by_a_shell_that_ignores("INT", stage)
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(PATIENCE) == 0
    assert stage.lines("stopped") == ["web stopped"]


def test_what_a_killed_part_left_elsewhere_is_swept_up() -> None:
    swept: list[str] = []
    running = RunningPart(Part("jobs", ("/bin/sleep", "60"), 1.0, sweep=lambda: swept.append("jobs")))
    running.start(0.0)
    running.kill()
    assert not running.is_running
    assert swept == ["jobs"]


def test_a_part_that_keeps_dying_is_told_of_loudly(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor(
        [Part("jobs", ("/bin/false",), 1.0)],
        stop_order=["jobs"],
        is_ready=lambda: True,
        on_ready=lambda: None,
        say=print,
    )
    running = supervisor.parts["jobs"]
    now = 0.0
    for _ in range(10):
        supervisor.step(now)
        if running.process is not None:
            running.process.wait()
        supervisor.step(now)
        now = running.start_at
    assert "jobs KEEPS DYING (exit code 1)" in caplog.text
    assert "trying again in 30 s" in caplog.text


def test_the_next_look_is_due_when_a_dead_part_is() -> None:
    supervisor = Supervisor(
        [Part("jobs", ("/bin/false",), 1.0)],
        stop_order=["jobs"],
        is_ready=lambda: True,
        on_ready=lambda: None,
        say=print,
    )
    supervisor.step(0.0)
    process = supervisor.parts["jobs"].process
    assert process is not None
    process.wait()
    assert supervisor.step(0.0) == pytest.approx(0.5)


def test_orphans_of_a_container_are_collected_and_own_children_are_not(tmp_path: Path) -> None:
    script = """
import ctypes, os, subprocess, time
from monitor_site.serving.platform import reap_orphans
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans come to us as they come to process 1
own = subprocess.Popen(["/bin/sh", "-c", "exit 7"])
parent = subprocess.Popen(["/bin/sh", "-c", "sleep 0.1 & echo $!"], stdout=subprocess.PIPE)
orphan = int(parent.stdout.readline())
parent.wait(); time.sleep(0.3)
reap_orphans({own.pid: own})
print(own.returncode, os.path.exists(f"/proc/{orphan}"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout == "7 False\n", done.stderr
