"""When an action has succeeded or failed, for the API and the commands alike."""

from __future__ import annotations

from typing import Any

from programs.action_outcome import ActionRequest, existing_outcome, restarted, scaled, started, stopped
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


def test_started_means_that_every_desired_instance_runs() -> None:
    request = ActionRequest(status())
    first = process("running", pid=1)
    assert started(request, status(first, process("starting", 1), instances=2)) is None
    outcome = started(request, status(first, process("running", 1, pid=2), instances=2))
    assert outcome
    assert (outcome.is_reached, outcome.text) == (True, "running (2 instances: pids 1, 2)")


def test_an_old_failure_is_not_taken_for_a_new_one() -> None:
    before = status(process("fatal", reason="no such command", revision=5))
    assert started(ActionRequest(before), before) is None
    outcome = started(ActionRequest(before), status(process("fatal", reason="no such command", revision=6)))
    assert outcome
    assert (outcome.is_reached, outcome.text) == (False, "fatal: no such command")


def test_a_job_that_has_finished_successfully_was_started() -> None:
    done = status(process("exited", exit_code=2, revision=1))
    failed, reached = started(ActionRequest(status()), done), started(ActionRequest(status(), {0, 2}), done)
    assert failed
    assert reached
    assert (failed.is_reached, reached.is_reached) == (False, True)


def test_a_restart_is_not_over_while_the_old_process_runs() -> None:
    old = process("running", pid=1, started_at="2026-01-01T00:00:00Z")
    request = ActionRequest(status(old))
    assert restarted(request, status(old)) is None
    same_pid = process("running", pid=1, started_at="2026-01-01T00:00:09Z")
    outcome = restarted(request, status(same_pid))
    assert outcome
    assert outcome.is_reached


def test_a_contrary_action_of_someone_else_ends_the_wait() -> None:
    against_start = started(ActionRequest(status()), status(process("running"), desired="stopped"))
    against_stop = stopped(ActionRequest(status()), status(process("running")))
    assert against_start
    assert against_stop
    assert not against_start.is_reached
    assert not against_stop.is_reached


def test_stopped_says_how_only_when_this_stop_ended_it() -> None:
    ended = status(process("stopped", exit_signal="SIGTERM"), desired="stopped")
    of_running = stopped(ActionRequest(status(process("running", pid=1))), ended)
    of_backoff = stopped(ActionRequest(status(process("backoff"))), ended)
    assert of_running
    assert of_backoff
    assert (of_running.text, of_backoff.text) == ("stopped (by SIGTERM)", "stopped")
    assert stopped(ActionRequest(ended), status(process("stopping"), desired="stopped")) is None


def test_scaled_means_no_more_and_no_fewer() -> None:
    one, two = process("running", pid=1), process("stopping", 1, pid=2)
    assert scaled(ActionRequest(status()), status(one, two)) is None
    down = scaled(ActionRequest(status()), status(one))
    later = scaled(ActionRequest(status()), status(desired="stopped", instances=3))
    assert down
    assert later
    assert (down.text, later.text) == ("running (pid 1)", "3 instances once it is started")


def test_no_desired_instances_are_reached_at_once() -> None:
    outcome = started(ActionRequest(status()), status(instances=0))
    assert outcome
    assert outcome.is_reached


def test_a_refused_action_has_succeeded_when_the_program_is_there_already() -> None:
    running = existing_outcome(Action.START, status(process("running", pid=7)))
    at_rest = existing_outcome(Action.KILL, status(process("exited"), desired="stopped"))
    assert running
    assert at_rest
    assert (running.text, at_rest.text) == ("already running (pid 7)", "already exited")
    assert existing_outcome(Action.STOP, status(process("running"))) is None


def test_an_exit_that_is_no_success_is_a_failed_start_whatever_the_policy() -> None:
    failed = status(process("exited", exit_code=1, reason="exit code 1", revision=1))
    killed = status(process("exited", exit_signal="SIGKILL", revision=1))
    for check in (started, restarted):
        for now in (failed, killed):
            outcome = check(ActionRequest(status()), now)
            assert outcome
            assert not outcome.is_reached


def test_one_failed_instance_fails_the_start_of_all() -> None:
    now = status(process("running", pid=1), process("exited", 1, exit_code=1, revision=1), instances=2)
    outcome = started(ActionRequest(status()), now)
    assert outcome
    assert not outcome.is_reached


def test_a_program_that_is_retried_is_not_decided_yet() -> None:
    assert started(ActionRequest(status()), status(process("backoff", revision=3))) is None


def test_nothing_is_decided_while_the_agent_does_not_respond() -> None:
    lost = {**status(process("running", pid=1)), "state": "unknown"}
    down = {**status(process("stopped"), desired="stopped"), "state": "unknown"}
    for check, now in ((started, lost), (restarted, lost), (stopped, down), (scaled, lost)):
        assert check(ActionRequest(status()), now) is None  # type: ignore[arg-type]
