from __future__ import annotations

from dataclasses import replace

import pytest

from programs.models import Program
from programs.policy import (
    Decision,
    Rules,
    Scaling,
    backoff_delay,
    decide_after_exit,
    desired_instances,
    is_expected_exit,
)
from programs.states import State

RULES = Rules(
    restart_policy="on-failure",
    success_exit_codes=frozenset({0}),
    backoff_initial=1,
    backoff_factor=2,
    backoff_max=300,
    backoff_jitter=0.2,
    stable_seconds=600,
    max_restarts=10,
    restart_window=600,
)


def crash(rules: Rules = RULES, uptime: float = 5, recent: tuple[float, ...] = (), now: float = 1000) -> Decision:
    return decide_after_exit(rules, expected=False, uptime=uptime, recent_restarts=recent, now=now, random=0.5)


def test_the_rules_of_a_program_are_those_of_its_definition() -> None:
    assert Program(name="web", command="web").restart_rules == RULES
    odd = Program(name="web", command="web", success_exit_codes=[0, 2], max_restarts=3)
    assert odd.restart_rules == replace(RULES, success_exit_codes=frozenset({0, 2}), max_restarts=3)


def test_the_first_restart_after_a_crash_is_immediate() -> None:
    assert crash().state is State.STARTING


def test_the_second_crash_within_the_stable_time_waits_the_initial_delay() -> None:
    decision = crash(recent=(990.0,))
    assert (decision.state, decision.delay) == (State.BACKOFF, 1)


def test_delays_grow_by_the_factor_up_to_the_maximum() -> None:
    assert [backoff_delay(RULES, n, 0.5) for n in (1, 2, 3, 4, 9, 30)] == [1, 2, 4, 8, 256, 300]


def test_jitter_spreads_a_delay_by_a_fifth_either_way() -> None:
    assert backoff_delay(RULES, 3, 0.0) == pytest.approx(3.2)
    assert backoff_delay(RULES, 3, 1.0) == pytest.approx(4.8)


def test_a_stable_run_resets_the_backoff() -> None:
    decision = crash(uptime=601, recent=(1.0, 2.0, 390.0))
    assert decision.state is State.STARTING
    assert decision.recent_restarts == (1000,)


def test_too_many_restarts_within_the_window_are_fatal() -> None:
    decision = crash(recent=tuple(500.0 + n for n in range(10)))
    assert decision.state is State.FATAL
    assert "10 restarts within 600 s" in decision.reason


def test_restarts_before_the_window_do_not_count_towards_the_limit() -> None:
    rules = replace(RULES, restart_window=100)
    assert crash(rules, recent=tuple(500.0 + n for n in range(10))).state is State.BACKOFF


def test_zero_max_restarts_means_never_giving_up() -> None:
    recent = tuple(900.0 + n for n in range(99))
    assert crash(replace(RULES, max_restarts=0), recent=recent).state is State.BACKOFF


def test_an_expected_exit_is_left_alone_unless_the_policy_is_always() -> None:
    for policy, state in (("on-failure", State.EXITED), ("always", State.STARTING)):
        rules = replace(RULES, restart_policy=policy)
        assert (
            decide_after_exit(rules, expected=True, uptime=5, recent_restarts=(), now=0, random=0).state is state
        )


def test_the_policy_never_restarts_nothing() -> None:
    assert crash(replace(RULES, restart_policy="never")).state is State.EXITED


def test_a_signal_or_an_unknown_exit_is_not_expected() -> None:
    assert is_expected_exit(RULES, 0, None)
    assert not is_expected_exit(RULES, None, "SIGKILL")
    assert not is_expected_exit(RULES, None, None)
    assert is_expected_exit(replace(RULES, success_exit_codes=frozenset({0, 3})), 3, None)


def test_timestamps_of_another_boots_clock_are_dropped() -> None:
    assert crash(recent=(5000.0,), now=10).state is State.STARTING


@pytest.mark.parametrize(
    ("running", "cpu", "wanted"),
    [(1, 90, 2), (4, 400, 4), (2, 100, 2), (3, 60, 2), (1, 5, 1), (2, 130, 3), (0, 0, 1)],
)
def test_scaling_goes_one_step_towards_the_target(running: int, cpu: float, wanted: int) -> None:
    assert desired_instances(Scaling(target=50, minimum=1, maximum=4), running, cpu) == wanted
