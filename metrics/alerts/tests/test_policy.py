"""When an alert fires and when it is over, case by case."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.alerts.policy import QUIET, Reading, Standing, Terms, Verdict, judge

ABOVE = Terms(is_above=True, threshold=90, clear_threshold=70, window=300)
BELOW = Terms(is_above=False, threshold=10, clear_threshold=20, window=300)
FIRING = Standing(is_firing=True, since=0)
LATER = 1000
KEEP, FIRE, RECOVERED, STOPPED = Verdict.KEEP, Verdict.FIRE, Verdict.RECOVERED, Verdict.STOPPED


def reading(value: float | None, covered: float = 300, is_running: bool | None = True) -> Reading:
    return Reading(value, covered, is_running)


@pytest.mark.parametrize(
    ("terms", "standing", "value", "verdict"),
    [
        (ABOVE, QUIET, 90.1, FIRE),
        (ABOVE, QUIET, 90, KEEP),
        (ABOVE, QUIET, 80, KEEP),
        (ABOVE, FIRING, 200, KEEP),
        (ABOVE, FIRING, 80, KEEP),  # between the two levels it goes on
        (ABOVE, FIRING, 70, RECOVERED),
        (BELOW, QUIET, 9.9, FIRE),
        (BELOW, QUIET, 10, KEEP),
        (BELOW, FIRING, 15, KEEP),
        (BELOW, FIRING, 20, RECOVERED),
        (ABOVE, QUIET, None, KEEP),
        (ABOVE, FIRING, None, KEEP),
    ],
)
def test_levels_decide(terms: Terms, standing: Standing, value: float | None, verdict: Verdict) -> None:
    assert judge(terms, standing, reading(value), LATER) is verdict


@pytest.mark.parametrize(("covered", "verdict"), [(1, KEEP), (224, KEEP), (225, FIRE), (300, FIRE), (310, FIRE)])
def test_a_window_that_is_hardly_covered_says_nothing(covered: float, verdict: Verdict) -> None:
    assert judge(ABOVE, QUIET, reading(100, covered), LATER) is verdict


def test_nor_does_it_end_an_alert() -> None:
    assert judge(ABOVE, FIRING, reading(0, covered=100), LATER) is KEEP


@pytest.mark.parametrize(
    ("is_running", "standing", "verdict"),
    [
        (False, FIRING, STOPPED),
        (False, QUIET, KEEP),  # what it used before it stopped is no reason any more
        (None, FIRING, KEEP),  # nobody looked, so nobody knows
        (None, QUIET, KEEP),
    ],
)
def test_a_program_that_stopped_ends_its_alert(
    is_running: bool | None, standing: Standing, verdict: Verdict
) -> None:
    assert judge(ABOVE, standing, reading(100, is_running=is_running), LATER) is verdict


def test_that_it_stopped_needs_no_window() -> None:
    assert judge(ABOVE, Standing(is_firing=True, since=LATER), reading(None, 0, False), LATER + 1) is STOPPED


@pytest.mark.parametrize(("age", "verdict"), [(10, KEEP), (299, KEEP), (300, RECOVERED)])
def test_an_alert_lasts_one_window_at_least(age: int, verdict: Verdict) -> None:
    assert judge(ABOVE, Standing(is_firing=True, since=LATER), reading(0), LATER + age) is verdict


@pytest.mark.parametrize(("age", "verdict"), [(10, KEEP), (299, KEEP), (300, FIRE)])
def test_and_so_does_the_peace_after_it(age: int, verdict: Verdict) -> None:
    assert judge(ABOVE, Standing(since=LATER), reading(100), LATER + age) is verdict


def test_a_clock_that_was_set_back_holds_up_nothing() -> None:
    assert judge(ABOVE, Standing(since=LATER + 7200), reading(100), LATER) is FIRE


@given(st.lists(st.floats(0, 200), max_size=300), st.floats(0, 100), st.floats(0, 100), st.booleans())
def test_whatever_comes_it_changes_its_mind_once_a_window_at_most(
    values: list[float], one: float, other: float, is_above: bool
) -> None:
    low, high = sorted((one, other))
    terms = Terms(is_above, high if is_above else low, low if is_above else high, window=50)
    standing, changes = QUIET, []
    for number, value in enumerate(values):
        now = 10 * number
        verdict = judge(terms, standing, Reading(value, 50, is_running=True), now)
        if verdict is not KEEP:
            assert verdict is (RECOVERED if standing.is_firing else FIRE)
            standing = Standing(not standing.is_firing, now)
            changes.append(now)
    assert all(later - earlier >= 50 for earlier, later in pairwise(changes))
