"""The stop steps of a definition, one after the other."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from programs.models import Program
from programs.states import Action

from .machine import FakeProcess
from .world import World

TERM, INT = signal.SIGTERM, signal.SIGINT


def define(world: World, steps: list[tuple[str, float]], **fields: Any) -> Program:
    ladder = [{"step": step, "seconds": seconds} for step, seconds in steps]
    program = world.define(stop_ladder=ladder, **fields)
    world.advance(2)
    return program


def stop(world: World, program: Program, seconds: float) -> dict[str, Any]:
    """The data of the event that says how it was stopped."""
    world.act(program, Action.STOP)
    world.advance(seconds)
    assert world.row(program)["state"] == "stopped"
    data: dict[str, Any] = world.database.events(program.pk)[-1]["data"]
    return data


def test_the_event_says_which_step_stopped_the_program_and_how_it_exited(world: World) -> None:
    data = stop(world, define(world, [("signal:TERM", 10)]), 1)
    assert (data["step"], data["exit_signal"], data["exit_code"]) == ("signal:TERM", "SIGTERM", None)
    assert (data["tree_killed"], data["failed_steps"], data["why"]) == (0, [], "stop requested")


def test_a_program_that_ignores_the_first_step_gets_the_second(world: World) -> None:
    program = define(world, [("signal:TERM", 10), ("signal:INT", 10)])
    world.live(program).ignores.add(TERM)
    world.live(program).code_on[INT] = 0
    data = stop(world, program, 11)
    assert (data["step"], data["exit_code"]) == ("signal:INT", 0)
    assert data["seconds"] == pytest.approx(10, abs=0.1)


def test_a_program_that_ignores_every_step_is_killed_after_their_seconds(world: World) -> None:
    program = define(world, [("signal:TERM", 10), ("signal:INT", 5)])
    world.live(program).ignores |= {TERM, INT}
    data = stop(world, program, 16)
    assert (data["step"], data["exit_signal"]) == ("signal:KILL", "SIGKILL")
    assert data["seconds"] == pytest.approx(15, abs=0.1)


def test_a_step_that_fails_is_followed_by_the_next_at_once(world: World) -> None:
    data = stop(world, define(world, [("command:fail", 60), ("signal:TERM", 10)]), 1)
    assert (data["step"], data["failed_steps"]) == ("signal:TERM", ["command:fail: no such command"])


def test_a_console_step_writes_a_line(world: World) -> None:
    program = define(world, [("stdin:save\\nquit {instance+7}", 1), ("signal:TERM", 10)])
    assert stop(world, program, 2)["step"] == "signal:TERM"
    assert world.machine.console == [((program.pk, 0), "save\nquit 7\n")]


def test_a_command_step_gets_its_arguments_split(world: World) -> None:
    program = define(world, [("command:ctl 'stop now' {instance+8000}", 1), ("signal:TERM", 10)])
    stop(world, program, 2)
    assert world.machine.stop_commands == [["ctl", "stop now", "8000"]]


def test_an_http_step_posts_to_its_url(world: World) -> None:
    program = define(world, [("http:http://127.0.0.1:80/stop/{instance+7}", 1), ("signal:TERM", 10)])
    stop(world, program, 2)
    assert world.machine.posted == ["http://127.0.0.1:80/stop/7"]


def test_an_exit_before_the_first_step_is_said_to_be_its_own(world: World) -> None:
    program = define(world, [("signal:TERM", 10)])
    world.act(program, Action.STOP)
    world.loop.advance(0.001)
    world.live(program).exit(code=5)
    world.advance()
    data = world.database.events(program.pk)[-1]["data"]
    assert (data["step"], data["exit_code"]) == ("ended by itself", 5)


def test_kill_while_stopping_skips_the_remaining_steps(world: World) -> None:
    program = define(world, [("signal:TERM", 600)])
    world.live(program).ignores.add(TERM)
    world.act(program, Action.STOP)
    world.advance(3)
    world.act(program, Action.KILL)
    world.advance()
    data = world.database.events(program.pk)[-1]["data"]
    assert data["step"] == "signal:KILL"
    assert data["seconds"] == pytest.approx(3, abs=0.1)


def test_the_rest_of_the_tree_gets_the_same_signal_and_then_sigkill(world: World) -> None:
    program = define(world, [("signal:TERM", 10)])
    main = world.live(program)
    polite, deaf = (world.machine.spawn((0, 0), main.marker, "child") for _ in range(2))
    deaf.ignores.add(TERM)
    data = stop(world, program, 11)
    assert (polite.ended and polite.ended.signal, deaf.ended and deaf.ended.signal) == ("SIGTERM", "SIGKILL")
    assert data["tree_killed"] == 1
    assert data["seconds"] == pytest.approx(10, abs=0.1)


def test_what_a_crashed_program_leaves_behind_is_killed(world: World) -> None:
    program = define(world, [("signal:TERM", 10)], restart_policy="never")
    child = world.machine.spawn((0, 0), world.live(program).marker, "child")
    world.live(program).exit(code=1)
    world.advance()
    assert not child.is_alive


def test_a_process_that_may_not_be_signalled_is_left_alone(world: World) -> None:
    program = define(world, [("signal:TERM", 10)])
    child = world.machine.spawn((0, 0), world.live(program).marker, "child")
    child.can_be_signalled = False
    assert stop(world, program, 60)["tree_killed"] == 0
    assert child.is_alive


def test_a_stop_without_a_process_table_kills_the_main_process(world: World, monkeypatch: Any) -> None:
    program = define(world, [("signal:TERM", 10)])

    async def fail() -> None:
        raise OSError("no process table")

    monkeypatch.setattr(world.machine, "scan", fail)
    data = stop(world, program, 1)
    assert (data["step"], data["exit_signal"], data["failed_steps"]) == (
        "signal:KILL", "SIGKILL", ["no process table"])  # fmt: skip


def test_a_successor_never_gets_its_predecessors_exit(world: World, monkeypatch: Any) -> None:
    """The stop fails, and the process dies of SIGKILL before its exit is noticed."""
    program = define(world, [("signal:TERM", 10)])

    async def fail() -> None:
        raise OSError("no process table")

    monkeypatch.setattr(world.machine, "scan", fail)
    world.act(program, Action.RESTART)
    world.advance(3)
    assert world.events(program) == ["started", "running", "stopping", "stopped", "restarted", "running"]
    assert world.live(program).pid == world.row(program)["pid"]


def ignore_all(process: FakeProcess) -> None:
    process.ignores |= {TERM, INT}


def test_programs_stop_side_by_side(world: World) -> None:
    world.machine.prepare = ignore_all
    programs = [define(world, [("signal:TERM", 10)], name=f"web{number}") for number in range(20)]
    for program in programs:
        world.act(program, Action.STOP)
    world.advance(11)
    assert {world.row(program)["state"] for program in programs} == {"stopped"}
