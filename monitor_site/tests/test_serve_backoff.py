from __future__ import annotations

from monitor_site.serving.backoff import Backoff, BackoffConfig


def delays(backoff: Backoff, exits: int, uptime: float = 0.0) -> list[float]:
    """The delays of a process that exits `uptime` seconds after each start."""
    now, found = 0.0, []
    for _ in range(exits):
        now += uptime
        found.append(backoff.delay_after_exit(now=now, uptime=uptime))
        now += found[-1]
    return found


def test_the_first_delay_is_half_a_second() -> None:
    assert delays(Backoff(), 1) == [0.5]


def test_delays_grow_up_to_the_longest() -> None:
    found = delays(Backoff(BackoffConfig(max_exits=1000)), 20)
    assert found == sorted(found)
    assert found[-1] == 30.0


def test_a_long_uptime_resets_the_delay() -> None:
    backoff = Backoff()
    delays(backoff, 5)
    assert backoff.delay_after_exit(now=1000.0, uptime=60.0) == 0.5


def test_ten_exits_within_a_minute_are_a_crash_loop() -> None:
    backoff = Backoff()
    found = delays(backoff, 10)
    assert backoff.is_crash_looping
    assert found[-1] == 30.0
    assert sum(found[:-1]) < 60.0


def test_nine_exits_within_a_minute_are_not_a_crash_loop() -> None:
    backoff = Backoff()
    delays(backoff, 9)
    assert not backoff.is_crash_looping


def test_exits_spread_over_hours_are_not_a_crash_loop() -> None:
    backoff = Backoff()
    delays(backoff, 30, uptime=30.0)
    assert not backoff.is_crash_looping
