"""Ticks keep a fixed rate and report their lag."""

from __future__ import annotations

from typing import Any

import pytest

from metrics.sampling.ticker import SamplingTicker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(settings: Any) -> Clock:
    settings.SAMPLE_SECONDS = 2.0
    return Clock()


def tick(ticker: SamplingTicker, clock: Clock, at: float, work: float = 0.1) -> None:
    clock.now = at
    with ticker.tick():
        clock.now += work


def test_small_delays_do_not_accumulate(clock: Clock) -> None:
    ticker = SamplingTicker(clock)
    for _ in range(1000):
        tick(ticker, clock, ticker.next_at + 0.03)
    assert ticker.next_at == 1000.0 + 2000.0
    assert ticker.missed == 0


def test_it_reports_lag_and_duration(clock: Clock) -> None:
    ticker = SamplingTicker(clock)
    tick(ticker, clock, 1000.0)
    tick(ticker, clock, 1002.5, work=0.4)
    tick(ticker, clock, 1004.0)
    assert (ticker.ticks, ticker.lag, ticker.worst_lag) == (3, 0.0, 0.5)
    assert ticker.duration == pytest.approx(0.1)


def test_missed_ticks_are_skipped_and_the_schedule_stays(clock: Clock) -> None:
    ticker = SamplingTicker(clock)
    tick(ticker, clock, 1000.0, work=7.0)
    tick(ticker, clock, 1007.0)
    assert (ticker.missed, ticker.next_at) == (2, 1008.0)
