"""The policy: when an alert fires and when it resolves."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.alerts.policy import NOT_FIRING, AlertState, MetricReading, Thresholds, Transition, decide

ABOVE = Thresholds(is_above=True, threshold=90, clear_threshold=70, window=300)
BELOW = Thresholds(is_above=False, threshold=10, clear_threshold=20, window=300)
FIRING = AlertState(is_firing=True, since=0)
LATER = 1000
KEEP, FIRE, RECOVERED, STOPPED = Transition.KEEP, Transition.FIRE, Transition.RECOVERED, Transition.STOPPED


def reading(value: float | None, covered: float = 300, is_running: bool | None = True) -> MetricReading:
    return MetricReading(value, covered, is_running)


@pytest.mark.parametrize(
    ("thresholds", "state", "value", "transition"),
    [
        (ABOVE, NOT_FIRING, 90.1, FIRE),
        (ABOVE, NOT_FIRING, 90, KEEP),
        (ABOVE, NOT_FIRING, 80, KEEP),
        (ABOVE, FIRING, 200, KEEP),
        (ABOVE, FIRING, 80, KEEP),  # between the two thresholds it keeps firing
        (ABOVE, FIRING, 70, RECOVERED),
        (BELOW, NOT_FIRING, 9.9, FIRE),
        (BELOW, NOT_FIRING, 10, KEEP),
        (BELOW, FIRING, 15, KEEP),
        (BELOW, FIRING, 20, RECOVERED),
        (ABOVE, NOT_FIRING, None, KEEP),
        (ABOVE, FIRING, None, KEEP),
    ],
)
def test_thresholds_decide(
    thresholds: Thresholds, state: AlertState, value: float | None, transition: Transition
) -> None:
    assert decide(thresholds, state, reading(value), LATER) is transition


@pytest.mark.parametrize(
    ("covered", "transition"), [(1, KEEP), (224, KEEP), (225, FIRE), (300, FIRE), (310, FIRE)]
)
def test_a_window_with_too_few_samples_does_not_fire(covered: float, transition: Transition) -> None:
    assert decide(ABOVE, NOT_FIRING, reading(100, covered), LATER) is transition


def test_a_window_with_too_few_samples_does_not_resolve() -> None:
    assert decide(ABOVE, FIRING, reading(0, covered=100), LATER) is KEEP


@pytest.mark.parametrize(
    ("is_running", "state", "transition"),
    [
        (False, FIRING, STOPPED),
        (False, NOT_FIRING, KEEP),  # usage before the stop does not fire
        (None, FIRING, KEEP),  # the agent did not sample
        (None, NOT_FIRING, KEEP),
    ],
)
def test_a_stopped_program_resolves_its_alert(
    is_running: bool | None, state: AlertState, transition: Transition
) -> None:
    assert decide(ABOVE, state, reading(100, is_running=is_running), LATER) is transition


def test_a_stop_resolves_before_the_window_is_over() -> None:
    assert decide(ABOVE, AlertState(is_firing=True, since=LATER), reading(None, 0, False), LATER + 1) is STOPPED


@pytest.mark.parametrize(("age", "transition"), [(10, KEEP), (299, KEEP), (300, RECOVERED)])
def test_an_alert_fires_for_at_least_one_window(age: int, transition: Transition) -> None:
    assert decide(ABOVE, AlertState(is_firing=True, since=LATER), reading(0), LATER + age) is transition


@pytest.mark.parametrize(("age", "transition"), [(10, KEEP), (299, KEEP), (300, FIRE)])
def test_an_alert_stays_resolved_for_at_least_one_window(age: int, transition: Transition) -> None:
    assert decide(ABOVE, AlertState(since=LATER), reading(100), LATER + age) is transition


def test_a_clock_set_back_does_not_delay_an_alert() -> None:
    assert decide(ABOVE, AlertState(since=LATER + 7200), reading(100), LATER) is FIRE


@given(st.lists(st.floats(0, 200), max_size=300), st.floats(0, 100), st.floats(0, 100), st.booleans())
def test_the_state_changes_at_most_once_per_window(
    values: list[float], one: float, other: float, is_above: bool
) -> None:
    low, high = sorted((one, other))
    thresholds = Thresholds(is_above, high if is_above else low, low if is_above else high, window=50)
    state, changes = NOT_FIRING, []
    for number, value in enumerate(values):
        now = 10 * number
        transition = decide(thresholds, state, MetricReading(value, 50, is_running=True), now)
        if transition is not KEEP:
            assert transition is (RECOVERED if state.is_firing else FIRE)
            state = AlertState(not state.is_firing, now)
            changes.append(now)
    assert all(later - earlier >= 50 for earlier, later in pairwise(changes))
