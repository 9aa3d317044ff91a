"""The commands with a real agent report what really happened."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.tests.databases import url_of_this_database
from programs.models import Process, Program, ProgramEvent

from .actors import MANAGE, AgentBox, define, is_running, wait_event, wait_for, wait_state
from .program_command import program

COUNTING = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done"


def pid_of(name: str) -> int:
    pid = Process.objects.get(program__name=name, index=0).pid
    assert pid is not None
    return pid


def test_actions_report_the_outcome_of_each_program(agent: AgentBox) -> None:
    define("web", "sleep 1000", autostart=False)
    define("bad", "no-such-command-here", autostart=False)
    done = program("start", "web", "bad")
    assert done.code == 1
    assert sorted(done.lines) == [
        "bad: fatal: command not found: no-such-command-here (in no folder of PATH)",
        f"web: running (pid {pid_of('web')})",
    ]
    assert program("start", "web").out == f"web: already running (pid {pid_of('web')})\n"
    assert sorted(program("stop", "web", "bad").lines) == ["bad: stopped", "web: stopped (by SIGTERM)"]
    assert sorted(program("kill", "--all").lines) == ["bad: already stopped", "web: already stopped"]


def test_a_restart_starts_a_new_process(agent: AgentBox) -> None:
    program_ = define("web", "sleep 1000")
    old = wait_state(program_, "running").pid
    done = program("restart", "web", "--json")
    [outcome] = done.json
    assert (done.code, outcome["done"]) == (0, True)
    assert outcome["status"]["pid"] not in (None, old)
    assert not is_running(old)


def test_a_kill_does_not_wait_for_the_stop_ladder(agent: AgentBox) -> None:
    stubborn = define("web", "sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'")
    wait_state(stubborn, "running")
    assert program("kill", "web", "--timeout", "8").out == "web: stopped (by SIGKILL)\n"


def test_a_crash_loop_is_reported_while_waiting(agent: AgentBox) -> None:
    define("web", "sh -c 'exit 3'", autostart=False, backoff_initial=300, start_seconds=300)
    done = program("start", "web", "--timeout", "4")
    assert done.code == 1
    assert re.match(r"web: backoff after \d+s: Exit code 3", done.out)
    assert "the agent will try again" in done.err


def test_scaling_waits_for_every_instance(agent: AgentBox) -> None:
    define("web", "sleep 1000", instances_max=3)
    done = program("scale", "web", "3")
    assert done.out.startswith("web: running (3 instances: pids ")
    assert program("scale", "web", "1").out == f"web: running (pid {pid_of('web')})\n"
    assert Process.objects.count() == 1


def test_input_reaches_the_console_line_by_line(agent: AgentBox) -> None:
    echo = define("echo", "while read l; do echo got $l; done", shell=True, stdin="console")
    wait_state(echo, "running")
    assert program("input", "echo", "say", "hello").code == 0
    assert program("input", "echo", "-", stdin="one\ntwo\n").code == 0
    wait_for(lambda: "got two" in program("logs", "echo").out)
    assert program("logs", "echo", "-q", "GOT").lines == ["got say hello", "got one", "got two"]
    assert {event.actor.split(" ", 1)[1] for event in ProgramEvent.objects.filter(type="program.input")} == {
        "(command line)"
    }


def test_removal_waits_until_the_program_is_gone(agent: AgentBox) -> None:
    web = define("web", "sleep 1000")
    pid = wait_state(web, "running").pid
    assert program("remove", "web", "--yes").out == "web: removed\n"
    assert not Program.everything.filter(pk=web.pk).exists()
    assert not is_running(pid)


def test_a_process_is_adopted_without_a_restart(agent: AgentBox) -> None:
    with subprocess.Popen(["sleep", "987"]) as stranger:
        listed = {entry["pid"]: entry for entry in program("adopt", "--list", "--json").json}
        assert listed[stranger.pid]["command"] == "sleep 987"
        assert program("adopt", str(stranger.pid), "--name", "old").out == f"old: running (pid {stranger.pid})\n"
        assert "supervised already" in program("adopt", str(stranger.pid), "--name", "again").err
        assert program("status", "old").code == 0
        stranger.kill()


def test_an_unknown_pid_cannot_be_adopted(agent: AgentBox) -> None:
    done = program("adopt", "4194303", "--name", "ghost")
    assert (done.code, done.err.startswith("pid: There is no process 4194303")) == (1, True)
    assert program("adopt", "--name", "ghost").code == 2
    assert not Program.objects.exists()


@pytest.fixture
def counting(agent: AgentBox) -> Program:
    made = define("count", COUNTING, shell=True, log_max_bytes=65536)
    wait_state(made, "running")
    return made


def test_the_last_lines_and_those_of_a_time(counting: Program) -> None:
    wait_for(lambda: "line 12" in program("logs", "count").out)
    assert len(program("logs", "count", "-n", "3").lines) == 3
    assert program("logs", "count", "--until", "1h").out == ""
    shown = program("logs", "count", "-q", "line 1", "-n", "2", "--json").json
    assert [line["text"][:6] for line in shown["lines"]] == ["line 1", "line 1"]
    assert program("logs", "count", "-n", "1", "-t").out[:2] == "20"


def real(box: AgentBox, *words: str, **streams: int) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    environment = {
        **os.environ,
        "DATA_DIR": str(box.folder),
        "DATABASE_URL": url_of_this_database(),
    }
    command = [sys.executable, str(MANAGE), "program", *words]
    return subprocess.Popen(command, env=environment, text=True, **streams)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def follower(counting: Program, box: AgentBox) -> Iterator[subprocess.Popen[str]]:
    with real(box, "logs", "count", "-f", "-n", "2", "--json", stdout=subprocess.PIPE) as following:
        yield following
        following.kill()


def numbers(follower: subprocess.Popen[str], count: int) -> list[int]:
    assert follower.stdout
    return [int(json.loads(follower.stdout.readline())["text"].split()[1]) for _ in range(count)]


def test_following_goes_on_across_a_restart_until_ctrl_c(follower: subprocess.Popen[str]) -> None:
    first = numbers(follower, 6)
    assert first == list(range(first[0], first[0] + 6))
    assert program("restart", "count").code == 0
    while (number := numbers(follower, 1)[0]) != 1:
        assert number == (first := [first[-1] + 1])[0]
    assert numbers(follower, 3) == [2, 3, 4]
    follower.send_signal(signal.SIGINT)
    assert follower.wait(timeout=60) == 0


def test_a_reader_that_leaves_ends_the_following_quietly(follower: subprocess.Popen[str]) -> None:
    numbers(follower, 3)
    assert follower.stdout
    follower.stdout.close()
    assert follower.wait(timeout=60) == 0


def test_an_agent_that_dies_during_the_wait_is_named(agent: AgentBox) -> None:
    slow = define("web", "sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'")
    wait_state(slow, "running")
    assert program("stop", "web", "--no-wait").out == "web: stop requested\n"
    wait_event(slow, "program.stopping")
    agent.kill()
    done = program("stop", "web", "--timeout", "15")
    assert (done.code, "the agent on testhost sends no heartbeat" in done.out) == (1, True)


def test_following_loses_no_line_when_the_log_rotates(box: AgentBox, agent: AgentBox) -> None:
    padded = f"i=0; while :; do i=$((i+1)); echo line $i {'-' * 80}; sleep 0.001; done"
    busy = define("count", padded, shell=True, log_max_bytes=65536)
    wait_state(busy, "running")
    with real(box, "logs", "count", "-f", "-n", "1", "--json", stdout=subprocess.PIPE) as follower:
        first = numbers(follower, 1)[0]
        wait_for(lambda: list((box.folder / "logs" / str(busy.pk)).glob("0.log.*-*")), "a rotation")
        assert numbers(follower, 1000) == list(range(first + 1, first + 1001))
        follower.kill()


def test_ctrl_c_ends_the_wait_but_not_the_request(box: AgentBox, agent: AgentBox) -> None:
    define("db", "sleep 1000", autostart=False)
    web = define("web", "sleep 1000", autostart=False, depends_on=[{"program": "db"}])
    with real(box, "start", "web", stderr=subprocess.PIPE) as waiting:
        assert waiting.stderr
        assert waiting.stderr.readline() == "web: waits for db to be started\n"
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(timeout=60) == 130
        assert waiting.stderr.read() == "Interrupted. The request itself goes on.\n"
    assert Program.objects.get(pk=web.pk).desired_state == "running"


def test_logs_can_be_read_without_an_agent(counting: Program, box: AgentBox) -> None:
    wait_for(lambda: "line 3" in program("logs", "count").out)
    box.stop()
    assert "line 3" in program("logs", "count").lines
    assert Path(box.folder / "logs" / str(counting.pk) / "0.log").exists()
