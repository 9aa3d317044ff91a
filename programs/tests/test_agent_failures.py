"""A database that is locked, missing or read-only, and a wall clock that jumps."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from core.tests.databases import locked_database, other_connection
from programs.models import Process, ProgramEvent
from programs.states import Action

from .actors import PATIENCE, AgentBox, ask, define, kill, row, wait_event, wait_for, wait_state

SLEEP = "sleep 1000"


def children(agent: AgentBox) -> set[int]:
    return {process.pid for process in agent.survivors()}


def test_a_locked_database_stops_no_restart_and_loses_no_event(agent: AgentBox) -> None:
    program = define("web", SLEEP, stable_seconds=0, max_restarts=0)
    pid = wait_state(program, "running").pid
    assert pid is not None
    with locked_database():
        begun, seen = time.monotonic(), [pid]
        for _ in range(3):
            kill(seen[-1])
            (new,) = wait_for(lambda: children(agent) - set(seen))
            seen.append(new)
        wait_for(lambda: time.monotonic() - begun > 10, "ten seconds of lock")
    wait_event(program, "program.restarted", 3)
    events = ProgramEvent.objects.filter(program=program).order_by("seq")
    recorded = [event.data["pid"] for event in events if event.type in ("program.started", "program.restarted")]
    assert recorded == seen
    assert wait_state(program, "running").pid == seen[-1]


def test_what_happened_without_a_database_survives_a_killed_agent(agent: AgentBox) -> None:
    program = define("web", SLEEP, stable_seconds=0, max_restarts=0)
    pid = wait_state(program, "running").pid
    assert pid is not None
    with locked_database():
        kill(pid)
        (new,) = wait_for(lambda: children(agent) - {pid})
        agent.kill()
    agent.start()
    assert wait_event(program, "program.crashed").data["exit_signal"] == "SIGKILL"
    assert wait_event(program, "program.restarted").data["pid"] == new
    assert wait_event(program, "program.adopted").data["pid"] == new
    assert ProgramEvent.objects.filter(program=program, type="program.crashed").count() == 1


def test_a_database_that_is_gone_for_a_while_gets_it_all_in_order(agent: AgentBox) -> None:
    """Renamed away is harsher than unwritable, which root would not notice."""
    program = define("web", SLEEP, stable_seconds=0, max_restarts=0)
    pid = wait_state(program, "running").pid
    assert pid is not None
    with other_connection() as other:
        other.rename("programs_process", "away")
        kill(pid)
        (new,) = wait_for(lambda: children(agent) - {pid})
        time.sleep(1)
        other.rename("away", "programs_process")
    wait_event(program, "program.running", 2)
    types = list(ProgramEvent.objects.filter(program=program).order_by("seq").values_list("type", flat=True))
    life = ["program.started", "program.running", "program.crashed", "program.restarted", "program.running"]
    assert types == ["program.created", *life]
    assert row(program).pid == new


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.mark.skipif(FAKETIME is None and "CI" not in os.environ, reason="no faketime on this machine")
def test_a_clock_that_jumps_an_hour_changes_no_delay_and_loses_nothing(box: AgentBox) -> None:
    clock = box.folder / "clock"
    clock.write_text("+0")
    box.start(
        LD_PRELOAD=str(FAKETIME),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    steady = define("steady", SLEEP)
    program = define("bad", "sh -c 'exit 1'", backoff_initial=0.4, backoff_max=0.5, max_restarts=0)
    wait_event(program, "program.restarted", 2)
    clock.write_text("-1h")
    begun, count = time.monotonic(), ProgramEvent.objects.filter(type="program.restarted").count()
    event = wait_event(program, "program.restarted", count + 4)
    assert time.monotonic() - begun < PATIENCE
    hours = (event.timestamp - timezone.now()).total_seconds() / 3600
    assert abs(hours + 1) < 0.1, "the clock was not shifted for real"
    kill(row(steady).pid)
    wait_event(steady, "program.restarted")
    assert wait_state(steady, "running").restarts == 1


def test_a_second_agent_on_the_same_folder_is_refused(agent: AgentBox) -> None:
    second = AgentBox(agent.folder).start(wait=False)
    assert second.process is not None
    assert second.process.wait(timeout=PATIENCE) == 1
    assert "is running on" in repr(second)


def test_an_agent_waits_for_a_database_that_is_not_there_yet(box: AgentBox) -> None:
    define("web", SLEEP)
    with locked_database():
        box.start(wait=False)
        time.sleep(2)
        assert box.process is not None
        assert box.process.poll() is None
    wait_for(lambda: ProgramEvent.objects.filter(type="program.running").exists(), box)


def test_a_thousand_programs_are_started_and_stopped(agent: AgentBox) -> None:
    program = define("many", "sleep 1000", instances_min=1000, instances_max=1000, start_seconds=0)
    running = Process.objects.filter(program=program, state="running")
    wait_for(lambda: running.count() == 1000, "1,000 to run", 120)
    ask(program, Action.STOP)
    wait_for(lambda: not program.processes.exclude(state="stopped").exists(), "all to stop", 120)
    assert agent.survivors() == []


@pytest.fixture
def unwritable() -> Iterator[Callable[[bool], None]]:
    """Makes the database's files immutable, which stops root as well, and writable again."""
    if connection.vendor != "sqlite":
        pytest.skip("the files are a server's, not the monitor's")
    files = [str(path) for path in Path(connection.settings_dict["NAME"]).parent.glob("test*.sqlite3*")]

    def switch(is_on: bool) -> None:
        done = subprocess.run(["chattr", "+i" if is_on else "-i", *files], capture_output=True)
        if done.returncode and "CI" not in os.environ:
            pytest.skip("needs root and a file system with attributes")
        assert done.returncode == 0, done.stderr

    yield switch
    subprocess.run(["chattr", "-i", *files], capture_output=True, check=False)


def test_an_unwritable_database_file_delays_only_the_record(
    agent: AgentBox, unwritable: Callable[[bool], None]
) -> None:
    program = define("web", SLEEP, stable_seconds=0, max_restarts=0)
    pid = wait_state(program, "running").pid
    assert pid is not None
    unwritable(True)
    kill(pid)
    (new,) = wait_for(lambda: children(agent) - {pid})
    time.sleep(1)
    unwritable(False)
    assert wait_event(program, "program.restarted").data["pid"] == new
