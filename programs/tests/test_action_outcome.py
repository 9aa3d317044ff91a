"""When a command may say that a program is where it was wanted."""

from __future__ import annotations

from typing import Any

from programs.action_outcome import Asked, already, restarted, scaled, started, stopped
from programs.payloads import ProcessStatus, ProgramStatus
from programs.states import Action, State, combined_state
from programs.status import NO_PROCESS


def process(state: str, index: int = 0, **fields: Any) -> ProcessStatus:
    return {**NO_PROCESS, "index": index, "state": state, **fields}  # type: ignore[typeddict-item]


def status(*processes: ProcessStatus, desired: str = "running", instances: int = 1) -> ProgramStatus:
    state = combined_state(State(process["state"]) for process in processes)
    shown: dict[str, Any] = {"name": "web", "state": state.value, "desired_state": desired}
    shown |= {"processes": list(processes), "instances": {"running": 0, "desired": instances}}
    return shown  # type: ignore[return-value]


def test_started_means_that_every_wanted_instance_runs() -> None:
    asked = Asked(status())
    first = process("running", pid=1)
    assert started(asked, status(first, process("starting", 1), instances=2)) is None
    verdict = started(asked, status(first, process("running", 1, pid=2), instances=2))
    assert verdict
    assert (verdict.reached, verdict.text) == (True, "running (2 instances: pids 1, 2)")


def test_an_old_failure_is_not_taken_for_a_new_one() -> None:
    before = status(process("fatal", reason="no such command", revision=5))
    assert started(Asked(before), before) is None
    verdict = started(Asked(before), status(process("fatal", reason="no such command", revision=6)))
    assert verdict
    assert (verdict.reached, verdict.text) == (False, "fatal: no such command")


def test_a_job_that_is_done_already_was_started() -> None:
    done = status(process("exited", exit_code=2, revision=1))
    failed, reached = started(Asked(status()), done), started(Asked(status(), {0, 2}), done)
    assert failed
    assert reached
    assert (failed.reached, reached.reached) == (False, True)


def test_a_restart_is_not_over_while_the_old_process_runs() -> None:
    old = process("running", pid=1, started_at="2026-01-01T00:00:00Z")
    asked = Asked(status(old))
    assert restarted(asked, status(old)) is None
    same_pid = process("running", pid=1, started_at="2026-01-01T00:00:09Z")
    verdict = restarted(asked, status(same_pid))
    assert verdict
    assert verdict.reached


def test_a_contrary_wish_of_somebody_else_ends_the_wait() -> None:
    against_start = started(Asked(status()), status(process("running"), desired="stopped"))
    against_stop = stopped(Asked(status()), status(process("running")))
    assert against_start
    assert against_stop
    assert not against_start.reached
    assert not against_stop.reached


def test_stopped_tells_how_only_when_this_stop_ended_it() -> None:
    ended = status(process("stopped", exit_signal="SIGTERM"), desired="stopped")
    of_running = stopped(Asked(status(process("running", pid=1))), ended)
    of_backoff = stopped(Asked(status(process("backoff"))), ended)
    assert of_running
    assert of_backoff
    assert (of_running.text, of_backoff.text) == ("stopped (by SIGTERM)", "stopped")
    assert stopped(Asked(ended), status(process("stopping"), desired="stopped")) is None


def test_scaled_means_no_more_and_no_fewer() -> None:
    one, two = process("running", pid=1), process("stopping", 1, pid=2)
    assert scaled(Asked(status()), status(one, two)) is None
    down = scaled(Asked(status()), status(one))
    later = scaled(Asked(status()), status(desired="stopped", instances=3))
    assert down
    assert later
    assert (down.text, later.text) == ("running (pid 1)", "3 instances once it is started")


def test_no_instances_is_a_state_that_can_be_reached() -> None:
    verdict = started(Asked(status()), status(instances=0))
    assert verdict
    assert verdict.reached


def test_what_is_there_already_needs_no_verb() -> None:
    running = already(Action.START, status(process("running", pid=7)))
    at_rest = already(Action.KILL, status(process("exited"), desired="stopped"))
    assert running
    assert at_rest
    assert (running.text, at_rest.text) == ("already running (pid 7)", "already exited")
    assert already(Action.STOP, status(process("running"))) is None
