from __future__ import annotations

from monitor_site.serving.backoff import Backoff, Pace


def waits(backoff: Backoff, deaths: int, uptime: float = 0.0) -> list[float]:
    """The waits after deaths that follow one another at once."""
    now, found = 0.0, []
    for _ in range(deaths):
        now += uptime
        found.append(backoff.after_death(now=now, uptime=uptime))
        now += found[-1]
    return found


def test_a_first_death_is_answered_after_half_a_second() -> None:
    assert waits(Backoff(), 1) == [0.5]


def test_the_waits_grow_up_to_the_longest() -> None:
    found = waits(Backoff(Pace(deaths_allowed=1000)), 20)
    assert found == sorted(found)
    assert found[-1] == 30.0


def test_a_part_that_ran_well_starts_over() -> None:
    backoff = Backoff()
    waits(backoff, 5)
    assert backoff.after_death(now=1000.0, uptime=60.0) == 0.5


def test_ten_deaths_within_a_minute_are_too_many() -> None:
    backoff = Backoff()
    found = waits(backoff, 10)
    assert backoff.keeps_dying
    assert found[-1] == 30.0
    assert sum(found[:-1]) < 60.0


def test_nine_deaths_within_a_minute_are_not() -> None:
    backoff = Backoff()
    waits(backoff, 9)
    assert not backoff.keeps_dying


def test_deaths_spread_over_hours_are_not_too_many() -> None:
    backoff = Backoff()
    waits(backoff, 30, uptime=30.0)
    assert not backoff.keeps_dying
