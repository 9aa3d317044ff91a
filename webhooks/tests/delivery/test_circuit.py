from __future__ import annotations

from datetime import UTC, datetime, timedelta

from webhooks.delivery.circuit import (
    DISABLE_AFTER,
    FAILURE_THRESHOLD,
    MIN_FAILED_MESSAGES,
    MIN_FAILING_TIME,
    PROBE_INTERVAL,
    CircuitState,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def unreached(times: int) -> CircuitState:
    health = CircuitState()
    for _ in range(times):
        health = health.connect_failed(NOW)
    return health


def test_the_circuit_opens_after_five_failed_connections_in_a_row() -> None:
    assert not unreached(FAILURE_THRESHOLD - 1).is_open
    opened = unreached(FAILURE_THRESHOLD)
    assert opened.is_open
    assert opened.paused_until == NOW + PROBE_INTERVAL


def test_a_failed_probe_extends_the_pause() -> None:
    later = NOW + PROBE_INTERVAL
    assert unreached(FAILURE_THRESHOLD).connect_failed(later).paused_until == later + PROBE_INTERVAL


def test_any_response_closes_the_circuit() -> None:
    closed = unreached(9).responded()
    assert (closed.is_open, closed.paused_until) == (False, None)


def test_a_success_resets_all_failures_but_not_a_requested_pause() -> None:
    health = unreached(2).failed(NOW, is_first_attempt=True).throttled(NOW + timedelta(hours=1)).succeeded(NOW)
    assert health == CircuitState(paused_until=NOW + timedelta(hours=1), last_success_at=NOW)


def test_the_longer_of_two_pauses_counts() -> None:
    health = CircuitState().throttled(NOW + timedelta(hours=1)).throttled(NOW + timedelta(minutes=1))
    assert health.paused_until == NOW + timedelta(hours=1)


def is_disabled(messages: int, since: timedelta, enabled: timedelta, success: timedelta | None = None) -> bool:
    health = CircuitState(
        failed_messages=messages,
        failing_since=NOW - since,
        last_success_at=NOW - success if success else None,
    )
    return health.should_disable(NOW, enabled_at=NOW - enabled)


def test_an_endpoint_is_disabled_after_five_days_ten_messages_and_twelve_hours() -> None:
    long = DISABLE_AFTER + timedelta(hours=1)
    assert is_disabled(MIN_FAILED_MESSAGES, long, long)
    assert not is_disabled(MIN_FAILED_MESSAGES - 1, long, long)
    assert not is_disabled(MIN_FAILED_MESSAGES, MIN_FAILING_TIME - timedelta(hours=1), long)
    assert not is_disabled(MIN_FAILED_MESSAGES, long, timedelta(days=1)), "it was enabled yesterday"
    assert not is_disabled(MIN_FAILED_MESSAGES, long, long, success=timedelta(days=4))


def test_an_idle_endpoint_is_not_disabled_at_its_first_failures() -> None:
    # No event for a month, then ten at once while the receiver restarts.
    assert not is_disabled(10, timedelta(minutes=1), timedelta(days=90), success=timedelta(days=30))
