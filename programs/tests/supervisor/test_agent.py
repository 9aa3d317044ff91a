"""The agent around its processes: desired state, faults of the database and of single programs, samples."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import OperationalError
from structlog.typing import EventDict

from programs.models import Program
from programs.states import Action
from programs.supervisor.platform import Exit
from programs.supervisor.ports import Launched

from .machine import FakeProcess
from .world import LIMIT, World

PROBE = {"kind": "tcp", "target": "127.0.0.1:80", "purpose": "readiness"}


def running(world: World, name: str = "web", **fields: Any) -> Program:
    program = world.define(name, **fields)
    world.advance(2)
    return program


# --- Desired state ---


def test_a_new_program_is_started_and_then_running(world: World) -> None:
    program = world.define(start_seconds=1)
    world.advance(0.9)
    assert (world.events(program), world.row(program)["state"]) == (["started"], "starting")
    world.advance(0.2)
    assert (world.events(program), world.row(program)["state"]) == (["started", "running"], "running")


def test_an_action_names_its_actor_until_the_process_runs(world: World) -> None:
    program = world.define(desired=False)
    world.act(program, Action.START, "bob")
    world.advance(2)
    world.exit(program, Exit(code=1))
    world.advance()
    assert world.events(program) == ["started", "running", "crashed", "restarted"]
    assert [event["actor"] for event in world.database.events(program.pk)] == ["bob", "bob", "agent", "agent"]


def test_two_restarts_at_once_start_one_process(world: World) -> None:
    program = running(world)
    for _ in range(2):
        world.act(program, Action.RESTART)
    world.advance()
    assert world.events(program)[2:] == ["stopping", "stopped", "restarted"]
    assert world.database.intents == {}


def test_every_instance_is_a_process_of_its_own(world: World) -> None:
    program = running(world, instances_min=3)
    assert [world.row(program, index)["state"] for index in range(3)] == ["running"] * 3
    world.exit(program, Exit(code=1), index=1)
    world.advance()
    assert [world.row(program, index)["restarts"] for index in range(3)] == [0, 1, 0]


def test_scaling_adds_instances_and_takes_the_last_ones_away(world: World) -> None:
    program = running(world)
    world.save(program, desired_instances=3)
    world.advance(2)
    assert [world.row(program, index)["state"] for index in range(3)] == ["running"] * 3
    world.save(program, desired_instances=1)
    world.advance()
    assert [key for key in world.database.rows if key[0] == program.pk] == [(program.pk, 0)]
    assert len(world.machine.live()) == 1


def test_load_above_the_target_adds_an_instance_up_to_the_maximum(world: World) -> None:
    program = running(world, instances_max=2, scale_cpu_percent=50)
    for _ in range(40):
        for index in range(program.desired_instances):
            world.sample(program, cpu_percent=90, index=index)
        world.advance(1)
    assert world.row(program, 1)["state"] == "running"
    scaled = [event["data"] for event in world.database.events(program.pk) if event["type"] == "program.scaled"]
    assert scaled == [{"from": 1, "to": 2, "why": "CPU"}]


def test_a_description_changes_nothing_that_runs_and_a_command_waits_for_the_restart(world: World) -> None:
    program = running(world)
    pid = world.live(program).pid
    world.save(program, description="the shop", command="run new")
    world.advance()
    assert world.live(program).pid == pid
    world.act(program, Action.RESTART)
    world.advance()
    assert world.live(program).command == "run new"


def test_a_removed_program_takes_its_console_and_logs_along(world: World) -> None:
    program = running(world)
    world.add_intent(program, "input", text="hello\n")
    world.advance()
    assert world.machine.console == [((program.pk, 0), "hello\n")]
    world.remove(program)
    world.advance()
    assert (world.machine.console, world.machine.removed_logs) == ([], [program.pk])
    assert program.pk not in world.database.programs


def test_console_input_that_cannot_be_delivered_is_reported(world: World, monkeypatch: Any) -> None:
    def fail(program_id: int, index: int, text: str) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(world.machine, "write_console", fail)
    program = running(world)
    world.add_intent(program, "input", text="hello\n")
    world.advance()
    event = world.database.events(program.pk)[-1]
    assert event["data"] == {"text": "hello\n", "error": "Resource temporarily unavailable"}


def test_a_moved_program_is_stopped_here_and_its_row_stays(world: World) -> None:
    program = running(world)
    world.save(program, host=world.other_host)
    world.advance()
    assert (world.row(program)["state"], world.machine.live()) == ("stopped", [])
    world.save(program, host=world.host)
    world.advance(2)
    assert world.row(program)["state"] == "running"


def test_a_restart_schedule_fires_once(world: World) -> None:
    program = running(world, restart_cron="0 0 * * *")
    world.clock_shift += 86_400
    world.advance(5)
    assert world.events(program)[2:] == ["stopping", "stopped", "restarted", "running"]
    assert world.database.events(program.pk)[2]["data"] == {"why": "restart schedule"}


# --- Faults of the database and the journal ---


def test_supervision_goes_on_while_the_database_cannot_be_read(world: World) -> None:
    program = running(world)
    world.database.fault = OperationalError("no such table")
    world.advance(5)
    world.exit(program, Exit(code=1))
    world.act(program, Action.STOP)
    world.advance(5)
    assert world.events(program)[2:] == ["crashed", "restarted", "running"]
    world.database.fault = None
    world.advance(2)
    assert world.row(program)["state"] == "stopped"


def test_an_agent_that_cannot_read_the_database_stops_when_asked(world: World) -> None:
    program = running(world)
    world.database.fault = OperationalError("no such table")
    world.advance(5)
    before = world.loop.now
    world.stop_agent()
    assert world.loop.now - before < 0.1
    world.database.fault = None
    world.start_agent()
    assert world.events(program)[-1] == "adopted"


def test_a_clean_stop_is_noted_in_the_journal(world: World) -> None:
    journal = world.journal
    world.stop_agent()
    assert journal.stopped_at == world.wall_clock()


def test_an_agent_whose_journal_is_dead_gives_up(world: World) -> None:
    program = running(world)
    world.journal.is_writing = False
    with pytest.raises(RuntimeError, match="the journal's writer has ended"):
        world.advance(2)
    assert world.journal.stopped_at is None
    assert asyncio.all_tasks(world.loop) == set()
    world.kill_agent()
    assert world.live(program).is_alive


# --- Faults of one program ---


def test_a_program_that_cannot_be_probed_is_unhealthy_and_hinders_no_other(world: World) -> None:
    other = running(world, "other")
    probed = world.define("probed", probes=[PROBE])
    world.machine.unprobeable.add(probed.pk)
    world.advance(2)
    event = world.database.events(probed.pk)[-1]
    assert (event["type"], event["data"]) == (
        "program.unhealthy", {"detail": "cannot be probed: a secret cannot be read"})  # fmt: skip
    world.exit(other, Exit(code=1))
    world.advance(2)
    assert (world.row(probed)["state"], world.row(other)["state"]) == ("running", "running")


def test_a_fault_of_ours_in_starting_one_program_hinders_no_other(
    world: World, monkeypatch: Any, log_lines: list[EventDict]
) -> None:
    launch = world.machine.launch

    def launch_all_but_one(program: Program, index: int) -> Launched:
        if program.name == "odd":
            raise TypeError("unhashable")
        return launch(program, index)

    monkeypatch.setattr(world.machine, "launch", launch_all_but_one)
    programs = [world.define(name) for name in ("first", "odd", "last")]
    world.advance(2)
    assert [world.row(program)["state"] for program in programs] == ["running", "fatal", "running"]
    assert world.row(programs[1])["reason"] == "the monitor failed to start it: unhashable"
    assert "program.start_failed" in [line["event"] for line in log_lines]


def test_a_fault_of_ours_in_handling_an_exit_ends_in_fatal(world: World, monkeypatch: Any) -> None:
    program = running(world)

    def fail(*_: object) -> None:
        raise TypeError("unhashable")

    with monkeypatch.context() as patch:
        patch.setattr(world.process(program), "_handle_unrequested_exit", fail)
        world.exit(program, Exit(code=1))
        world.advance()
    assert world.row(program)["state"] == "fatal"
    assert world.row(program)["reason"] == "the monitor failed to handle its exit: unhashable"
    world.act(program, Action.START)
    world.advance(2)
    assert world.row(program)["state"] == "running"


# --- Failing starts ---


def test_a_transient_failure_of_the_first_start_is_retried_until_it_has_passed(world: World) -> None:
    program = world.define(desired=False, backoff_initial=300, max_restarts=0)
    world.fail_launch(program, "text file busy")
    world.act(program, Action.START)
    world.advance()
    assert (world.row(program)["state"], world.row(program)["reason"]) == ("backoff", "text file busy")
    crashed, backoff = world.database.events(program.pk)
    assert (crashed["data"]["meaning"], backoff["data"]["delay_seconds"]) == ("text file busy", 0.5)
    world.machine.launch_faults.clear()
    world.advance(2)
    assert world.row(program)["state"] == "running"


def test_a_permanent_failure_says_why_and_a_start_tries_again(world: World) -> None:
    program = world.define(desired=False)
    world.fail_launch(program, "there is no folder /x", is_permanent=True)
    world.act(program, Action.START)
    world.advance()
    assert (world.row(program)["state"], world.row(program)["reason"]) == ("fatal", "there is no folder /x")
    world.machine.launch_faults.clear()
    world.act(program, Action.START)
    world.advance(2)
    assert world.row(program)["state"] == "running"


def test_a_crash_loop_backs_off_and_ends_fatal(world: World) -> None:
    program = world.define(max_restarts=3, backoff_initial=1, backoff_factor=2, backoff_jitter=0)
    world.machine.exits_at_once[program.pk] = Exit(code=7)
    world.advance(10)
    assert world.row(program)["reason"].startswith("gave up after 3 restarts within 600 s; last: Exit code 7")
    assert world.events(program).count("crashed") == 4
    delays = [
        e["data"]["delay_seconds"] for e in world.database.events(program.pk) if e["type"] == "program.backoff"
    ]
    assert delays == [1, 2]


def test_stopping_a_program_in_backoff_says_what_it_was(world: World) -> None:
    program = world.define(backoff_initial=300)
    world.machine.exits_at_once[program.pk] = Exit(code=7)
    world.advance()
    world.act(program, Action.KILL)
    world.advance()
    assert world.database.events(program.pk)[-1]["data"] == {"was": "backoff"}


# --- Probes and samples ---


def test_new_probes_apply_to_the_running_process(world: World) -> None:
    program = running(world, probes=[PROBE])
    first = world.machine.probers[program.pk, 0]
    first.report("unhealthy", "no answer")
    assert world.row(program)["health"] == "unhealthy"
    world.save(program, probes=[{**PROBE, "target": "127.0.0.1:81"}])
    world.advance()
    second = world.machine.probers[program.pk, 0]
    assert (first.is_running, second.is_running, world.row(program)["health"]) == (False, True, "")
    world.save(program, probes=[])
    world.advance()
    assert (second.is_running, world.row(program)["health"]) == (False, "")


def test_a_failing_liveness_probe_counts_as_a_crash(world: World) -> None:
    program = running(world, probes=[PROBE], max_restarts=1)
    for _ in range(2):
        world.fail_liveness(program)
        world.advance(2)
    assert world.row(program)["state"] == "fatal"
    crashed = [event["data"] for event in world.database.events(program.pk) if event["type"] == "program.crashed"]
    assert [data["meaning"] for data in crashed] == ["unhealthy: no answer"] * 2
    assert (crashed[0]["step"], crashed[0]["exit_signal"]) == ("signal:TERM", "SIGTERM")


def test_three_samples_in_a_row_above_the_limit_restart_the_process(world: World) -> None:
    program = running(world, max_memory_bytes=LIMIT)
    for sample in (LIMIT + 1, LIMIT + 1, LIMIT, LIMIT + 1, LIMIT + 1):
        world.sample(program, sample)
    world.advance()
    assert world.row(program)["state"] == "running"
    world.sample(program, LIMIT + 1)
    world.advance()
    assert world.events(program)[2:] == ["stopping", "stopped", "restarted"]
    why = world.database.events(program.pk)[2]["data"]["why"]
    assert why == f"uses {LIMIT + 1} bytes of memory, allowed are {LIMIT}"


def test_equal_samples_are_published_once_a_run(world: World) -> None:
    program = running(world)
    world.sample(program, 500)
    assert world.journal.latest.pop((program.pk, 0))["memory_bytes"] == 500
    world.sample(program, 500)
    assert world.journal.latest == {}
    world.act(program, Action.RESTART)
    world.advance()
    world.sample(program, 500)
    assert world.journal.latest[program.pk, 0]["memory_bytes"] == 500


def test_an_out_of_memory_kill_is_told_from_another_sigkill(world: World) -> None:
    program = running(world)
    world.machine.oom_count += 1
    world.exit(program, Exit(signal="SIGKILL"))
    world.advance(2)
    world.exit(program, Exit(signal="SIGKILL"))
    world.advance()
    crashed = [event["data"] for event in world.database.events(program.pk) if event["type"] == "program.crashed"]
    assert [data["out_of_memory"] for data in crashed] == [True, False]
    assert "memory" in crashed[0]["meaning"]


def test_a_kill_of_long_ago_is_not_taken_for_the_cause(world: World) -> None:
    program = running(world)
    world.machine.oom_count += 1
    world.agent.heartbeat()
    world.advance(6)
    world.exit(program, Exit(signal="SIGKILL"))
    world.advance()
    assert world.database.events(program.pk)[-2]["data"]["out_of_memory"] is False


def test_three_hundred_exits_at_once_have_three_hundred_successors(world: World) -> None:
    program = running(world, instances_min=300, start_seconds=0)
    first: list[FakeProcess] = world.machine.live()
    for process in first:
        process.exit(signal="SIGKILL")
    world.advance()
    assert len(world.machine.live()) == 300
    assert world.events(program).count("crashed") == world.events(program).count("restarted") == 300
