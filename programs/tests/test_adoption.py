"""Programs outlive the agent, and the next one adopts them. On real processes."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import psutil
import pytest
from django.core.exceptions import ValidationError

from core.exceptions import ConflictError
from programs import adoption
from programs.models import Process, Program, ProgramEvent
from programs.states import Action
from programs.supervisor import platform

from .actors import PATIENCE, AgentBox, ask, define, is_running, kill, row, wait_event, wait_for, wait_state

SLEEP = "sleep 1000"
KILLS = int(os.environ.get("MONITOR_TEST_KILLS", "24"))  # 300 for the long run, see CONTRIBUTING


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that no agent started."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_program_outlives_the_agent_and_is_adopted(agent: AgentBox, end: str) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    getattr(agent, end)()
    assert is_running(pid)
    agent.start()
    assert wait_event(program, "program.adopted").data["pid"] == pid
    assert row(program).state == "running"
    assert len(agent.survivors()) == 1


def test_the_exit_of_an_adopted_program_is_seen_with_its_code(agent: AgentBox) -> None:
    program = define("web", "trap 'exit 42' USR1; while :; do sleep 0.05; done", shell=True)
    pid = wait_state(program, "running").pid
    agent.kill()
    agent.start()
    wait_event(program, "program.adopted")
    kill(pid, signal.SIGUSR1)
    data = wait_event(program, "program.crashed").data
    assert data["exit_code"] == 42
    assert wait_state(program, "running").pid != pid


def test_a_process_that_was_started_but_never_recorded_is_adopted(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    agent.kill()
    Process.objects.filter(program=program).delete()
    agent.start()
    assert wait_event(program, "program.adopted").data["pid"] == pid
    assert len(agent.survivors()) == 1


def test_a_signal_never_reaches_a_process_that_reused_the_pid(stranger: subprocess.Popen[bytes]) -> None:
    who = platform.identity(stranger.pid)
    assert who is not None
    assert not platform.send_signal(who._replace(kernel_start=who.kernel_start - 1), signal.SIGKILL)
    assert not platform.send_signal(who._replace(boot_id="another boot"), signal.SIGKILL)
    assert stranger.poll() is None


def test_a_running_process_is_adopted_in_place(agent: AgentBox, stranger: subprocess.Popen[bytes]) -> None:
    assert stranger.pid in {candidate.pid for candidate in adoption.candidates()}
    program = adoption.adopt(stranger.pid, name="mine", actor="bob")
    assert wait_state(program, "running").pid == stranger.pid
    assert program.command == "sleep 1000"
    wait_for(lambda: Program.objects.get(pk=program.pk).desired_state == "running")
    stranger.kill()  # and it stays a zombie, since nobody waits for it
    wait_event(program, "program.restarted")
    assert wait_state(program, "running").pid != stranger.pid


def test_the_monitor_and_its_programs_cannot_be_adopted(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    process = wait_state(program, "running")
    assert process.pid is not None
    assert process.pid not in {candidate.pid for candidate in adoption.candidates()}
    with pytest.raises(ValidationError, match=r"belongs to web, which is supervised already\."):
        adoption.adopt(process.pid, name="again", actor="bob")
    assert agent.process is not None
    with pytest.raises(ValidationError, match=r"belongs to the monitor itself\."):
        adoption.adopt(agent.process.pid, name="agent", actor="bob")
    with pytest.raises(ValidationError, match=r"is this command itself, or one of its parents\."):
        adoption.adopt(os.getpid(), name="self", actor="bob")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("pid", "reason"),
    [
        (1, "Process 1 is the init process of this system."),
        (0, "There is no process 0."),
        (-1, "There is no process -1."),
        (2**31 - 1, f"There is no process {2**31 - 1}."),
        (2**70, f"There is no process {2**70}."),
    ],
)
def test_a_pid_that_cannot_be_adopted_is_refused_with_the_reason(pid: int, reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        adoption.adopt(pid, name="x", actor="bob")
    assert refused.value.message_dict == {"pid": [reason]}
    assert not Program.objects.exists()


def test_a_kernel_thread_cannot_be_adopted() -> None:
    """A container sees none, so this one is made up."""
    thread = SimpleNamespace(pid=77, info={"ppid": 2, "cmdline": [], "status": "idle", "username": "root"})
    assert adoption._obstacle(cast("psutil.Process", thread)) == "is a kernel thread"


@pytest.mark.django_db
def test_a_zombie_cannot_be_adopted(stranger: subprocess.Popen[bytes]) -> None:
    stranger.kill()
    wait_for(lambda: psutil.Process(stranger.pid).status() == psutil.STATUS_ZOMBIE)
    with pytest.raises(ValidationError, match="has exited"):
        adoption.adopt(stranger.pid, name="x", actor="bob")


@pytest.mark.django_db
def test_only_root_can_adopt_the_processes_of_other_users(
    stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(adoption, "_own_name", lambda: "somebody")
    with pytest.raises(ValidationError, match="only a monitor that runs as root can supervise it"):
        adoption.adopt(stranger.pid, name="x", actor="bob")
    assert stranger.pid not in {candidate.pid for candidate in adoption.candidates()}


def test_stop_programs_ends_them_and_the_next_agent_starts_them(box: AgentBox) -> None:
    box.start("--stop-programs")
    db, web = define("db", SLEEP), define("web", SLEEP, depends_on=[{"program": "db"}])
    wait_state(db, "running")
    wait_state(web, "running")
    assert box.stop() == 0
    assert box.survivors() == []
    stopped = {e.program_name: e.seq for e in ProgramEvent.objects.filter(type="program.stopped")}
    assert stopped["web"] < stopped["db"]
    box.start()
    wait_state(web, "running")


@pytest.mark.parametrize("at", [1, 14, 45, 80])
def test_an_agent_killed_at_any_line_of_a_start_starts_once(box: AgentBox, at: int) -> None:
    program = define("web", SLEEP)
    box.start_dying(at, "_start")
    assert box.process is not None
    assert box.process.wait(timeout=PATIENCE) == -signal.SIGKILL
    box.start()
    process = wait_state(program, "running")
    assert [survivor.pid for survivor in box.survivors()] == [process.pid]


@pytest.mark.parametrize("at", [1, 20, 70])
def test_an_agent_killed_at_any_line_of_a_stop_leaves_nothing(box: AgentBox, at: int) -> None:
    program = define("web", "sh -c 'sleep 1000 & sleep 1001'", autostart=False)
    box.start()
    ask(program, Action.START)
    wait_state(program, "running")
    box.kill()
    ask(program, Action.STOP)
    box.start_dying(at, "_stop")
    assert box.process is not None
    assert box.process.wait(timeout=PATIENCE) == -signal.SIGKILL
    box.start()
    wait_state(program, "stopped")
    wait_for(lambda: not box.survivors(), "the tree to be gone")


def is_in_desired_state(program: Program, runs: bool) -> bool:
    """A program that was stopped before any agent lived long enough to start it has no process at all."""
    states = set(Process.objects.filter(program=program).values_list("state", flat=True))
    return states == {"running"} if runs else states <= {"stopped"}


def test_random_kills_of_the_agent_double_and_lose_nothing(box: AgentBox) -> None:
    dice = random.Random(7)
    steady = [define(f"steady{n}", SLEEP, start_seconds=0) for n in range(KILLS // 8 + 10)]
    crashing = [
        define(f"crash{n}", "sh -c 'sleep 0.3; exit 1'", backoff_initial=0.1, backoff_max=0.3, max_restarts=0)
        for n in range(4)
    ]
    desired = dict.fromkeys(steady, True)
    for _ in range(KILLS):
        box.start(wait=False)
        for program in dice.sample(steady, 4):
            verb = dice.choice([Action.START, Action.RESTART, Action.STOP, Action.KILL])
            desired[program] = verb in (Action.START, Action.RESTART)
            with contextlib.suppress(ConflictError):  # it is so already
                ask(program, verb)
        time.sleep(dice.uniform(0.4, 1.6))
        box.kill()
    box.start()
    for program in crashing:
        ask(program, Action.KILL)
        desired[program] = False
    for program, runs in desired.items():
        wait_for(lambda: is_in_desired_state(program, runs), program)  # noqa: B023
    wait_for(lambda: len(box.survivors()) == sum(desired.values()), "exactly those that should run")
    pids = set(Process.objects.filter(state="running").values_list("pid", flat=True))
    assert {process.pid for process in box.survivors()} == pids
