from __future__ import annotations

from datetime import UTC, datetime, timedelta

from webhooks.delivery.circuit import FEWEST_FAILED, GIVE_UP_AFTER, OPENS_AFTER, PROBE_EVERY, SPREAD_OVER, Health

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def unreached(times: int) -> Health:
    health = Health()
    for _ in range(times):
        health = health.not_reached(NOW)
    return health


def test_it_opens_with_the_fifth_failure_in_a_row() -> None:
    assert not unreached(OPENS_AFTER - 1).is_open
    opened = unreached(OPENS_AFTER)
    assert opened.is_open
    assert opened.paused_until == NOW + PROBE_EVERY


def test_a_failed_probe_makes_it_wait_again() -> None:
    later = NOW + PROBE_EVERY
    assert unreached(OPENS_AFTER).not_reached(later).paused_until == later + PROBE_EVERY


def test_any_answer_closes_it() -> None:
    closed = unreached(9).answered()
    assert (closed.is_open, closed.paused_until) == (False, None)


def test_a_success_forgets_all_failures_but_not_a_wait_that_was_asked_for() -> None:
    health = unreached(2).failed(NOW, is_first_try=True).throttled(NOW + timedelta(hours=1)).succeeded(NOW)
    assert health == Health(paused_until=NOW + timedelta(hours=1), last_success_at=NOW)


def test_the_longer_of_two_waits_counts() -> None:
    health = Health().throttled(NOW + timedelta(hours=1)).throttled(NOW + timedelta(minutes=1))
    assert health.paused_until == NOW + timedelta(hours=1)


def hopeless(messages: int, since: timedelta, enabled: timedelta, success: timedelta | None = None) -> bool:
    health = Health(
        failed_messages=messages,
        failing_since=NOW - since,
        last_success_at=NOW - success if success else None,
    )
    return health.is_hopeless(NOW, enabled_at=NOW - enabled)


def test_it_is_hopeless_after_five_days_ten_messages_and_twelve_hours() -> None:
    long = GIVE_UP_AFTER + timedelta(hours=1)
    assert hopeless(FEWEST_FAILED, long, long)
    assert not hopeless(FEWEST_FAILED - 1, long, long)
    assert not hopeless(FEWEST_FAILED, SPREAD_OVER - timedelta(hours=1), long)
    assert not hopeless(FEWEST_FAILED, long, timedelta(days=1)), "it was switched on yesterday"
    assert not hopeless(FEWEST_FAILED, long, long, success=timedelta(days=4))


def test_a_quiet_endpoint_is_not_hopeless_at_its_first_failures() -> None:
    """No event for a month, then ten at once into a receiver that restarts."""
    assert not hopeless(10, timedelta(minutes=1), timedelta(days=90), success=timedelta(days=30))
