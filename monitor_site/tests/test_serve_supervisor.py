from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from monitor_site.serving.children import Child, ChildSpec
from monitor_site.serving.supervisor import ChildSupervisor

from .installation import PATIENCE, Installation, wait_until

# Appends what happens to the file named by $0, and takes $1 seconds to stop.
STOPS_ON_TERM = """
trap "sleep $1; echo $CHILD stopped >> $0; exit 0" TERM
echo "$CHILD started" >> $0
while :; do sleep 0.02; done
"""
IGNORES_TERM = """
trap "" TERM
sleep 60 & echo "child $!" >> $0
echo "$CHILD started" >> $0
while :; do sleep 0.02; done
"""
WATCHES_PARENT = """
import time
from monitor_site.serving import parent_watch
parent_watch.watch_from_environment()
print("watching")
time.sleep(60)
"""


class Stage:
    """A supervisor in its own process with shell scripts as children, which record what happens to them."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.record = installation.folder / "record"
        self.specs: list[dict[str, object]] = []

    def add(
        self, name: str, script: str, *, delay: float = 0.0, stop_seconds: float = 3.0, owns: bool = True
    ) -> None:
        argv = ["/bin/sh", "-c", script, str(self.record), str(delay)]
        spec = {"name": name, "argv": argv, "stop_seconds": stop_seconds, "owns_group": owns}
        self.specs.append({**spec, "environment": {"CHILD": name}})

    def open(self) -> psutil.Popen:
        supervisor = self.installation.start("-m", "monitor_site.tests.run_stand_ins", json.dumps(self.specs))
        wait_until(lambda: len(self.lines("started")) == len(self.specs))
        return supervisor

    def lines(self, word: str) -> list[str]:
        text = self.record.read_text() if self.record.exists() else ""
        return [line for line in text.splitlines() if word in line]


@pytest.fixture
def stage(empty_installation: Installation) -> Stage:
    return Stage(empty_installation)


def test_a_killed_child_is_restarted(stage: Stage) -> None:
    stage.add("web", STOPS_ON_TERM)
    supervisor = stage.open()
    supervisor.children()[0].kill()
    wait_until(lambda: len(stage.lines("web started")) == 2)
    assert "web exited unexpectedly (signal SIGKILL). Restarting it in 0.5 s" in stage.installation.printed()


def test_a_child_that_cannot_start_does_not_affect_the_others(stage: Stage) -> None:
    stage.add("web", STOPS_ON_TERM)
    supervisor = stage.open()
    assert supervisor.is_running()
    stage.specs.insert(0, {"name": "agent", "argv": ["/nowhere/at/all"], "stop_seconds": 1.0})
    other = stage.installation.start("-m", "monitor_site.tests.run_stand_ins", json.dumps(stage.specs))
    wait_until(lambda: len(stage.lines("web started")) == 2)
    wait_until(lambda: stage.installation.printed().count("agent exited unexpectedly") >= 2)
    assert other.is_running()


def test_children_stop_one_after_the_other(stage: Stage) -> None:
    for name in ("web", "jobs", "agent"):
        stage.add(name, STOPS_ON_TERM, delay=0.2)
    supervisor = stage.open()
    supervisor.terminate()
    assert supervisor.wait(PATIENCE) == 0
    assert stage.lines("stopped") == ["web stopped", "jobs stopped", "agent stopped"]
    assert stage.installation.processes() == []


def test_a_child_that_does_not_stop_is_killed_with_its_group(stage: Stage) -> None:
    stage.add("web", IGNORES_TERM, stop_seconds=0.3)
    supervisor = stage.open()
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(PATIENCE) == 0
    wait_until(lambda: stage.installation.processes() == [])
    assert "web did not stop in time and was killed" in stage.installation.printed()


def test_an_agent_that_does_not_stop_is_killed_without_its_group(stage: Stage) -> None:
    stage.add("agent", IGNORES_TERM, stop_seconds=0.3, owns=False)
    supervisor = stage.open()
    child = int(stage.lines("child")[0].split()[1])
    supervisor.terminate()
    assert supervisor.wait(PATIENCE) == 0
    assert psutil.pid_exists(child)


def test_unused_stop_time_goes_to_the_next_child(stage: Stage) -> None:
    stage.add("web", STOPS_ON_TERM, stop_seconds=2.0)
    stage.add("jobs", STOPS_ON_TERM, delay=1.0, stop_seconds=0.3)
    supervisor = stage.open()
    supervisor.terminate()
    supervisor.wait(PATIENCE)
    assert stage.lines("stopped") == ["web stopped", "jobs stopped"]


def test_a_second_signal_kills_all_children(stage: Stage) -> None:
    stage.add("web", IGNORES_TERM, stop_seconds=300.0)
    stage.add("agent", IGNORES_TERM, stop_seconds=300.0, owns=False)
    supervisor = stage.open()
    supervisor.terminate()
    wait_until(lambda: "Stopping" in stage.installation.printed())
    time.sleep(0.1)  # the kernel merges two pending signals of one kind
    supervisor.terminate()
    assert supervisor.wait(PATIENCE) == 0


def test_children_stop_when_their_supervisor_is_killed(stage: Stage) -> None:
    spec = {"name": "web", "argv": [sys.executable, "-u", "-c", WATCHES_PARENT], "stop_seconds": 5.0}
    stage.specs.append(spec)
    supervisor = stage.installation.start("-m", "monitor_site.tests.run_stand_ins", json.dumps(stage.specs))
    wait_until(lambda: "watching" in stage.installation.printed())
    supervisor.kill()
    wait_until(lambda: stage.installation.processes() == [])
    assert supervisor.wait(PATIENCE) == -signal.SIGKILL


def started_by_a_shell_that_ignores(name: str, stage: Stage) -> subprocess.Popen[bytes]:
    stage.add("web", STOPS_ON_TERM)
    command = f'trap "" {name}; exec "{sys.executable}" -m monitor_site.tests.run_stand_ins "$0"'
    supervisor = subprocess.Popen(
        ["/bin/sh", "-c", command, json.dumps(stage.specs)],
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


def test_a_supervisor_started_in_the_background_stops_at_sigint(stage: Stage) -> None:
    supervisor = started_by_a_shell_that_ignores("INT", stage)
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(PATIENCE) == 0
    assert stage.lines("stopped") == ["web stopped"]


def test_killing_a_child_calls_its_clean_up() -> None:
    swept: list[str] = []
    running = Child(ChildSpec("jobs", ("/bin/sleep", "60"), 1.0, clean_up=lambda: swept.append("jobs")))
    running.start(0.0)
    running.kill()
    assert not running.is_running
    assert swept == ["jobs"]


def test_a_crash_loop_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = ChildSupervisor(
        [ChildSpec("jobs", ("/bin/false",), 1.0)],
        stop_order=["jobs"],
        is_ready=lambda: True,
        on_ready=lambda: None,
        say=print,
    )
    running = supervisor.children["jobs"]
    now = 0.0
    for _ in range(10):
        supervisor.step(now)
        if running.process is not None:
            running.process.wait()
        supervisor.step(now)
        now = running.start_at
    assert "jobs KEEPS EXITING (exit code 1)" in caplog.text
    assert "Next restart in 30 s" in caplog.text


def test_the_next_step_is_due_when_a_restart_is() -> None:
    supervisor = ChildSupervisor(
        [ChildSpec("jobs", ("/bin/false",), 1.0)],
        stop_order=["jobs"],
        is_ready=lambda: True,
        on_ready=lambda: None,
        say=print,
    )
    supervisor.step(0.0)
    process = supervisor.children["jobs"].process
    assert process is not None
    process.wait()
    assert supervisor.step(0.0) == pytest.approx(0.5)


def test_orphans_are_reaped_but_own_children_are_not(tmp_path: Path) -> None:
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
