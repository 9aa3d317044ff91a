"""Programs outlive the agent: however it ends, the next one adopts them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

import psutil
import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from core.exceptions import ConflictError
from programs import adoption, services
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


def test_an_exit_while_the_agent_was_away_is_found_and_acted_on(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    agent.kill()
    kill(pid)
    agent.start()
    assert wait_event(program, "program.crashed").data["unseen"] is True
    assert wait_state(program, "running").pid != pid


def test_a_stop_goes_on_after_the_agent_was_killed(agent: AgentBox) -> None:
    deaf = "trap '' TERM; while :; do sleep 0.1; done"
    program = define("deaf", deaf, shell=True, stop_ladder=[{"step": "signal:TERM", "seconds": 1}])
    wait_state(program, "running")
    ask(program, Action.STOP)
    wait_state(program, "stopping")
    agent.kill()
    agent.start()
    wait_state(program, "stopped")
    assert agent.survivors() == []


def test_a_request_made_while_the_agent_was_down_is_carried_out(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    wait_state(program, "running")
    agent.kill()
    ask(program, Action.STOP)
    agent.start()
    wait_state(program, "stopped")
    assert agent.survivors() == []


def test_a_process_that_was_started_but_never_written_down_is_adopted(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    agent.kill()
    Process.objects.filter(program=program).delete()
    agent.start()
    assert wait_event(program, "program.adopted").data["pid"] == pid
    assert len(agent.survivors()) == 1


def test_a_reused_pid_is_neither_adopted_nor_signalled(agent: AgentBox, stranger: subprocess.Popen[bytes]) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    agent.kill()
    kill(pid)
    # As if the kernel had given our program's number to this one: same pid, other start time.
    Process.objects.filter(program=program).update(pid=stranger.pid)
    agent.start()
    assert wait_state(program, "running").pid != stranger.pid
    ask(program, Action.KILL)
    wait_state(program, "stopped")
    assert stranger.poll() is None


def test_a_signal_never_reaches_who_came_after(stranger: subprocess.Popen[bytes]) -> None:
    who = platform.identity(stranger.pid)
    assert who is not None
    assert not platform.send_signal(who._replace(kernel_start=who.kernel_start - 1), signal.SIGKILL)
    assert not platform.send_signal(who._replace(boot_id="another boot"), signal.SIGKILL)
    assert stranger.poll() is None


def test_a_second_copy_is_ended_when_two_carry_the_mark(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    process = wait_state(program, "running")
    agent.kill()
    marker = f"{agent.marker}/{program.pk}/0/copy"
    env = {"PROGRAM_MONITOR": marker, "PATH": "/usr/bin:/bin"}
    copy = subprocess.Popen(["sleep", "1000"], env=env, start_new_session=True)
    agent.start()
    wait_for(lambda: copy.poll() is not None, "the copy to be ended")
    assert is_running(process.pid)


def test_after_a_reboot_what_should_run_is_started(box: AgentBox) -> None:
    wanted = define("wanted", SLEEP)
    unwanted = define("unwanted", SLEEP, autostart=False)
    services.request(unwanted, Action.START, actor="tester")
    for program in (wanted, unwanted):
        Process.objects.create(program=program, index=0, state="running", pid=1, kernel_start=5, boot_id="before")
    unwanted.intents.all().delete()
    box.start()
    wait_state(wanted, "running")
    assert wait_event(wanted, "program.exited").data["why"] == "the machine was restarted"
    wait_state(unwanted, "stopped")
    assert Program.objects.get(pk=unwanted.pk).desired_state == "stopped"


def test_a_backoff_goes_on_where_it_was(agent: AgentBox) -> None:
    program = define("bad", "sh -c 'exit 1'", backoff_initial=2, max_restarts=0)
    wait_state(program, "backoff")
    agent.kill()
    agent.start()
    wait_event(program, "program.restarted", 2)


def test_a_clock_an_hour_off_does_not_stretch_a_backoff(agent: AgentBox) -> None:
    program = define("bad", "sh -c 'exit 1'", backoff_initial=0.3, backoff_max=0.5, max_restarts=0)
    wait_state(program, "backoff")
    agent.kill()
    Process.objects.filter(program=program).update(
        state="backoff", next_start_at=timezone.now() + timedelta(hours=1)
    )
    before = ProgramEvent.objects.filter(type="program.restarted").count()
    agent.start()
    wait_event(program, "program.restarted", before + 1)


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
def test_only_root_can_adopt_processes_of_other_users(
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


@pytest.mark.parametrize("at", [1, 6, 14, 30, 45, 60, 80, 110])
def test_an_agent_killed_at_any_line_of_a_start_starts_once(box: AgentBox, at: int) -> None:
    program = define("web", SLEEP)
    box.start_dying(at, "_start")
    assert box.process is not None
    assert box.process.wait(timeout=PATIENCE) == -signal.SIGKILL
    box.start()
    process = wait_state(program, "running")
    assert [survivor.pid for survivor in box.survivors()] == [process.pid]


@pytest.mark.parametrize("at", [1, 8, 20, 40, 70, 120])
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


def is_as_wanted(program: Program, runs: bool) -> bool:
    """A program that was stopped before any agent lived long enough to start it has no process at all."""
    states = set(Process.objects.filter(program=program).values_list("state", flat=True))
    return states == {"running"} if runs else states <= {"stopped"}


def test_kills_at_random_moments_double_and_lose_nothing(box: AgentBox) -> None:
    dice = random.Random(7)
    steady = [define(f"steady{n}", SLEEP, start_seconds=0) for n in range(KILLS // 8 + 10)]
    crashing = [
        define(f"crash{n}", "sh -c 'sleep 0.3; exit 1'", backoff_initial=0.1, backoff_max=0.3, max_restarts=0)
        for n in range(4)
    ]
    wanted = dict.fromkeys(steady, True)
    for _ in range(KILLS):
        box.start(wait=False)
        for program in dice.sample(steady, 4):
            verb = dice.choice([Action.START, Action.RESTART, Action.STOP, Action.KILL])
            wanted[program] = verb in (Action.START, Action.RESTART)
            with contextlib.suppress(ConflictError):  # it is so already
                ask(program, verb)
        time.sleep(dice.uniform(0.4, 1.6))
        box.kill()
    box.start()
    for program in crashing:
        ask(program, Action.KILL)
        wanted[program] = False
    for program, runs in wanted.items():
        wait_for(lambda: is_as_wanted(program, runs), program)  # noqa: B023
    wait_for(lambda: len(box.survivors()) == sum(wanted.values()), "exactly those that should run")
    pids = set(Process.objects.filter(state="running").values_list("pid", flat=True))
    assert {process.pid for process in box.survivors()} == pids
