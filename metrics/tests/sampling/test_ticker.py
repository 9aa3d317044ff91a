"""Ticks keep their distance from the first one, and say how late they were."""

from __future__ import annotations

from typing import Any

import pytest

from metrics.sampling.ticker import Rhythm


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(settings: Any) -> Clock:
    settings.SAMPLE_SECONDS = 2.0
    return Clock()


def tick(rhythm: Rhythm, clock: Clock, at: float, work: float = 0.1) -> None:
    clock.now = at
    with rhythm.tick():
        clock.now += work


def test_small_delays_do_not_add_up(clock: Clock) -> None:
    rhythm = Rhythm(clock)
    for _ in range(1000):
        tick(rhythm, clock, rhythm.next_at + 0.03)
    assert rhythm.next_at == 1000.0 + 2000.0
    assert rhythm.missed == 0


def test_it_says_how_late_and_how_long_ticks_were(clock: Clock) -> None:
    rhythm = Rhythm(clock)
    tick(rhythm, clock, 1000.0)
    tick(rhythm, clock, 1002.5, work=0.4)
    tick(rhythm, clock, 1004.0)
    assert (rhythm.ticks, rhythm.lag, rhythm.worst_lag) == (3, 0.0, 0.5)
    assert rhythm.duration == pytest.approx(0.1)


def test_missed_ticks_are_left_out_and_the_rhythm_stays(clock: Clock) -> None:
    rhythm = Rhythm(clock)
    tick(rhythm, clock, 1000.0, work=7.0)
    tick(rhythm, clock, 1007.0)
    assert (rhythm.missed, rhythm.next_at) == (2, 1008.0)
