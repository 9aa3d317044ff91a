"""What an agent makes of the processes it finds at its start."""

from __future__ import annotations

from typing import Any

from structlog.typing import EventDict

from programs.models import Program
from programs.states import Action
from programs.supervisor.platform import Exit, Identity

from .machine import FakeProcess
from .world import World


def running(world: World, name: str = "web", **fields: Any) -> tuple[Program, FakeProcess]:
    program = world.define(name, **fields)
    world.advance(2)
    return program, world.live(program)


def test_a_process_that_was_never_recorded_is_adopted_by_its_marker(world: World) -> None:
    program, process = running(world, start_seconds=60)
    world.kill_agent()
    world.database.rows.clear()
    world.start_agent()
    assert world.events(program) == ["started", "adopted"]
    assert (world.row(program)["state"], world.row(program)["pid"]) == ("starting", process.pid)


def test_a_start_that_the_agent_did_not_live_to_record_is_not_made_again(world: World) -> None:
    program = world.define()
    world.puts_until_death = 0
    world.advance(2)
    assert world.supervisor is None
    (process,) = world.machine.live()
    world.start_agent()
    world.advance(2)
    assert world.machine.live() == [process]
    assert world.events(program) == ["adopted", "running"]


def test_the_exit_of_an_adopted_process_is_seen_with_its_code(world: World) -> None:
    program, process = running(world)
    world.kill_agent()
    world.start_agent()
    process.exit(code=42)
    world.advance()
    crashed, restarted = world.database.events(program.pk)[-2:]
    assert (crashed["type"], crashed["data"]["exit_code"]) == ("program.crashed", 42)
    assert restarted["type"] == "program.restarted"


def test_a_reused_pid_is_neither_adopted_nor_signalled(world: World) -> None:
    program, process = running(world)
    world.kill_agent()
    process.exit(signal="SIGKILL")
    stranger = world.machine.spawn((0, 0), "")
    world.machine.table[process.pid] = stranger  # the same pid, but another start time
    stranger.identity = Identity(process.pid, stranger.identity.kernel_start + 1, stranger.identity.boot_id)
    world.start_agent()
    world.advance(2)
    assert world.live(program).pid != process.pid
    world.act(program, Action.KILL)
    world.advance()
    assert stranger.is_alive


def test_a_second_copy_is_killed_and_the_recorded_process_adopted(world: World) -> None:
    program, process = running(world)
    world.kill_agent()
    copy = world.machine.spawn((program.pk, 0), f"run/{program.pk}/0/copy")
    child = world.machine.spawn((0, 0), "")
    child.session = copy.pid
    world.start_agent()
    world.advance()
    assert (process.is_alive, copy.is_alive, child.is_alive) == (True, False, False)


def test_of_two_unrecorded_copies_the_newer_is_adopted(world: World) -> None:
    program, process = running(world)
    world.kill_agent()
    world.database.rows.clear()
    world.loop.advance(1)
    copy = world.machine.spawn((program.pk, 0), f"run/{program.pk}/0/copy")
    world.start_agent()
    world.advance()
    assert (process.is_alive, copy.is_alive) == (False, True)
    assert world.row(program)["pid"] == copy.pid


def test_a_successor_that_was_never_recorded_is_adopted_and_the_exit_before_it_told(world: World) -> None:
    program, process = running(world)
    world.kill_agent()
    process.exit(code=1)
    successor = world.machine.spawn((program.pk, 0), f"run/{program.pk}/0/next")
    world.start_agent()
    assert world.events(program)[-2:] == ["crashed", "adopted"]
    assert world.row(program)["pid"] == successor.pid


def test_a_process_whose_program_is_gone_is_killed_with_its_tree(world: World) -> None:
    program, process = running(world)
    world.kill_agent()
    child = world.machine.spawn((0, 0), process.marker)
    del world.database.programs[program.pk]
    world.database.rows.clear()
    world.start_agent()
    world.advance()
    assert (process.is_alive, child.is_alive) == (False, False)


def test_a_process_of_another_host_and_one_of_another_monitor_are_left_alone(
    world: World, log_lines: list[EventDict]
) -> None:
    program, process = running(world)
    stranger = world.machine.spawn((0, 0), "other/1/0/x")
    world.kill_agent()
    program.host = world.other_host
    world.database.rows.clear()
    world.start_agent()
    world.advance()
    assert (process.is_alive, stranger.is_alive) == (True, True)
    assert "agent.leaves_process_of_another_host" in [line["event"] for line in log_lines]
    world.kill_agent()
    world.save(program, host=None)
    world.start_agent()
    assert world.row(program)["pid"] == process.pid


def test_what_a_missed_exit_left_behind_is_killed_by_its_marker_alone(world: World) -> None:
    """A daemon may have the dead program's pid as its session by now."""
    _, process = running(world)
    world.kill_agent()
    process.exit(code=1)
    left = world.machine.spawn((0, 0), process.marker)
    daemon = world.machine.spawn((0, 0), "")
    daemon.session = process.pid
    world.start_agent()
    world.advance()
    assert (left.is_alive, daemon.is_alive) == (False, True)


def test_after_a_reboot_only_autostart_and_requested_programs_start(world: World) -> None:
    automatic, _ = running(world)
    manual, _ = running(world, "manual", autostart=False)
    requested, _ = running(world, "requested", autostart=False)
    world.kill_agent()
    world.machine.reboot()
    world.act(requested, Action.START)
    world.start_agent()
    world.advance(2)
    states = {program.name: world.row(program)["state"] for program in (automatic, manual, requested)}
    assert states == {"web": "running", "manual": "stopped", "requested": "running"}
    assert world.database.programs[manual.pk].desired_state == "stopped"
    assert world.database.events(automatic.pk)[-3]["data"]["why"] == "the machine was restarted"


def test_a_backoff_continues_where_the_last_agent_left_it(world: World) -> None:
    program = world.define(backoff_initial=100, backoff_jitter=0)
    world.machine.exits_at_once[program.pk] = Exit(code=1)
    world.advance()
    assert world.row(program)["state"] == "backoff"
    world.machine.exits_at_once.clear()
    world.kill_agent()
    world.loop.advance(60)
    world.start_agent()
    world.advance(39)
    assert world.row(program)["state"] == "backoff"
    world.advance(2)
    assert world.events(program)[-2:] == ["restarted", "running"]


def test_restarts_before_the_agents_restart_still_count(world: World) -> None:
    program, process = running(world, max_restarts=1)
    process.exit(code=1)
    world.advance()
    world.kill_agent()
    world.start_agent()
    world.live(program).exit(code=1)
    world.advance()
    assert world.row(program)["state"] == "fatal"
    assert "gave up after 1 restarts" in world.row(program)["reason"]


def test_a_running_process_becomes_the_first_instance_of_a_program(world: World) -> None:
    stranger = world.machine.spawn((0, 0), "")
    program = world.define(desired=False)
    stranger.key = (program.pk, 0)
    pid, kernel_start, boot_id = stranger.identity
    world.add_intent(program, "adopt", pid=pid, kernel_start=kernel_start, boot_id=boot_id)
    world.advance()
    assert (world.row(program)["state"], world.row(program)["pid"]) == ("running", pid)
    assert (program.desired_state, world.database.events(program.pk)[-1]["actor"]) == ("running", "alice")
    stranger.exit(code=1)
    world.advance()
    assert world.events(program) == ["adopted", "crashed", "restarted"]


def test_a_process_that_exited_before_it_could_be_adopted_is_reported(world: World) -> None:
    program = world.define(desired=False)
    world.add_intent(program, "adopt", pid=77, kernel_start=5, boot_id="boot 1")
    world.advance()
    (event,) = world.database.events(program.pk)
    assert event["data"] == {"why": "process 77 ended before it could be adopted"}
    assert program.desired_state == "stopped"


def test_a_marker_that_nobody_gave_keeps_no_agent_from_starting(world: World) -> None:
    for marker in ("run/x", "run/1/0", "x"):
        world.machine.spawn((0, 0), marker)
    world.kill_agent()
    program = world.define()
    world.start_agent()
    world.advance(2)
    assert world.row(program)["state"] == "running"


def test_an_adopted_process_that_cannot_be_watched_yet_gets_no_second_one_beside_it(world: World) -> None:
    program, process = running(world)
    world.kill_agent()
    world.machine.unwatchable.add(program.pk)  # the agent has no free descriptor
    world.start_agent()
    world.advance(10)
    assert (world.live(program), world.row(program)["state"]) == (process, "running")
    world.machine.unwatchable.clear()
    world.advance(1.1)
    process.exit(code=42)
    world.advance()
    crashed = world.database.events(program.pk)[-2]
    assert (crashed["type"], crashed["data"]["exit_code"]) == ("program.crashed", 42)


def test_an_adopted_process_can_be_stopped_while_it_cannot_be_watched(world: World) -> None:
    program, process = running(world)
    world.kill_agent()
    world.machine.unwatchable.add(program.pk)
    world.start_agent()
    world.act(program, Action.STOP)
    world.advance(5)
    assert (process.is_alive, world.row(program)["state"]) == (False, "stopped")


def test_a_daemon_that_an_exit_left_behind_is_killed_and_not_adopted(world: World) -> None:
    program, process = running(world, restart_policy="never")
    daemon = world.machine.spawn((0, 0), process.marker)  # a session leader with the program's marker
    process.exit(code=0)
    world.advance(0)
    assert (world.row(program)["state"], daemon.is_alive) == ("exited", True)
    world.kill_agent()
    world.start_agent()
    world.advance()
    assert (world.row(program)["state"], daemon.is_alive) == ("exited", False)


def test_leftovers_of_a_missed_exit_are_killed_beside_the_adopted_successor(world: World) -> None:
    program, process = running(world)
    daemon = world.machine.spawn((0, 0), process.marker)
    world.puts_until_death = 0
    process.exit(code=1)
    world.advance()
    (successor,) = world.machine.live((program.pk, 0))
    world.start_agent()
    world.advance()
    assert (world.row(program)["pid"], daemon.is_alive) == (successor.pid, False)
    assert world.events(program)[-2:] == ["crashed", "adopted"]


def test_leftovers_of_a_run_before_the_recorded_one_are_killed(world: World) -> None:
    """The agent restarted the program, and died before it had killed what the first run left behind."""
    program, process = running(world)
    child = world.machine.spawn((0, 0), process.marker)
    child.session = process.pid
    process.exit(code=1)
    world.advance(0)
    assert (world.row(program)["state"], child.is_alive) == ("starting", True)
    world.kill_agent()
    world.start_agent()
    world.advance()
    assert (len(world.machine.live((program.pk, 0))), child.is_alive) == (1, False)
