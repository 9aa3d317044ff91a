"""System checks refuse settings that would break the history."""

from __future__ import annotations

from typing import Any

import pytest

from metrics.apps import check_record_seconds, check_retention


@pytest.mark.parametrize("seconds", [1, 5.0, 10.0, 60])
def test_intervals_that_divide_a_minute_are_accepted(seconds: float, settings: Any) -> None:
    settings.RECORD_SECONDS = seconds
    assert check_record_seconds(None) == []


@pytest.mark.parametrize("seconds", [0, 0.5, -10, 7, 2.5, 90, 120])
def test_other_intervals_are_refused(seconds: float, settings: Any) -> None:
    settings.RECORD_SECONDS = seconds
    assert [error.id for error in check_record_seconds(None)] == ["metrics.E001"]


def test_retention_shorter_than_a_roll_up_is_refused(settings: Any) -> None:
    assert check_retention(None) == []
    settings.RAW_HOURS, settings.HOUR_DAYS = 0, 1
    assert [error.msg for error in check_retention(None)] == [
        "RAW_HOURS is 0; it must be at least 1.",
        "HOUR_DAYS is 1; it must be at least 2.",
    ]
