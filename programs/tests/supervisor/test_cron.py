"""When a restart schedule fires, also when the clock is set or changes with the season."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError

from programs import validation
from programs.supervisor.cron import CronSchedule

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def fired(schedule: CronSchedule, *seconds: float) -> list[float]:
    """Which of these checks, in seconds after noon, found the program 1 due."""
    return [second for second in seconds if list(schedule.due(NOON + timedelta(seconds=second))) == [1]]


def test_an_expression_that_never_fires_stops_no_other_schedule() -> None:
    plan, noon = CronSchedule(), datetime(2026, 6, 1, 12, tzinfo=UTC)
    for program_id, expression in ((1, "0 0 30 2 *"), (2, "nonsense"), (3, "* * * * *")):
        plan.set(program_id, expression)
    assert list(plan.due(noon)) == []
    assert list(plan.due(noon + timedelta(minutes=1))) == [3]


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "* * * * * *", "@daily", "0 4 * *"])
def test_an_expression_that_never_fires_is_refused(expression: str) -> None:
    with pytest.raises(ValidationError):
        validation.cron(expression)


def schedule(cron: str) -> CronSchedule:
    found = CronSchedule()
    found.set(1, cron)
    return found


def test_a_schedule_fires_once_for_each_time() -> None:
    assert fired(schedule("* * * * *"), 30, 59.9, 60, 60.5, 119, 120.2, 121) == [60, 120.2]


def test_a_clock_set_forward_fires_once_for_all_times_jumped_over() -> None:
    assert fired(schedule("* * * * *"), 30, 7200, 7201, 7259, 7260) == [7200, 7260]


def test_a_clock_set_back_moves_the_times_too() -> None:
    assert fired(schedule("0 * * * *"), 1800, -5400, -3601, -3600, -3599, 0) == [-3600, 0]


@pytest.mark.parametrize(
    ("cron", "day", "times"),
    [
        ("0 4 * * *", datetime(2030, 3, 30, 12, tzinfo=UTC), ["03-31 02:00", "04-01 02:00"]),
        ("0 4 * * *", datetime(2030, 10, 26, 12, tzinfo=UTC), ["10-27 03:00", "10-28 03:00"]),
        ("30 2 * * *", datetime(2030, 10, 26, 12, tzinfo=UTC), ["10-27 00:30", "10-28 01:30"]),
    ],
)
def test_times_follow_the_wall_clock_across_daylight_saving(cron: str, day: datetime, times: list[str]) -> None:
    plan, berlin = schedule(cron), ZoneInfo("Europe/Berlin")
    checks = [day + timedelta(minutes=10 * number) for number in range(6 * 40)]
    found = [look for look in checks if list(plan.due(look.astimezone(berlin)))]
    assert [f"{look:%m-%d %H:%M}" for look in found] == times


def test_a_clock_that_is_nudged_back_fires_no_time_twice() -> None:
    assert fired(schedule("* * * * *"), 30, 60.2, 59.9, 60.1, 120) == [60.2, 120]


def test_a_new_expression_replaces_the_old_and_an_empty_one_forgets() -> None:
    plan = schedule("* * * * *")
    assert fired(plan, 30) == []
    plan.set(1, "0 * * * *")
    assert fired(plan, 60, 3600) == [3600]
    plan.set(1, "")
    assert fired(plan, 7200, 10_800) == []
