"""Settings that would make a wrong history are refused at the start."""

from __future__ import annotations

from typing import Any

import pytest

from metrics.checks import kept, record_seconds


@pytest.mark.parametrize("seconds", [1, 5.0, 10.0, 60])
def test_intervals_that_fill_a_minute_are_fine(seconds: float, settings: Any) -> None:
    settings.RECORD_SECONDS = seconds
    assert record_seconds(None) == []


@pytest.mark.parametrize("seconds", [0, 0.5, -10, 7, 2.5, 90, 120])
def test_intervals_that_reach_over_a_minute_are_not(seconds: float, settings: Any) -> None:
    settings.RECORD_SECONDS = seconds
    assert [error.id for error in record_seconds(None)] == ["metrics.E001"]


def test_history_is_kept_long_enough_to_build_on(settings: Any) -> None:
    assert kept(None) == []
    settings.RAW_HOURS, settings.HOUR_DAYS = 0, 1
    assert [error.msg for error in kept(None)] == [
        "RAW_HOURS is 0; it must be at least 1.",
        "HOUR_DAYS is 1; it must be at least 2.",
    ]
