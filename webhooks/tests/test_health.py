"""Delivery health: success ratio, p95, pending deliveries, counts by hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webhooks import health
from webhooks.health import EndpointCondition, health_of, health_of_many
from webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint

from .rig import endpoint, record_event

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 4, 12, 20, tzinfo=UTC)


def delivery(
    row: WebhookEndpoint,
    state: str = "delivered",
    hours_ago: float = 0.0,
    duration_ms: int | None = None,
    **more: Any,
) -> WebhookDelivery:
    """As outbox and worker would write it."""
    at = NOW - timedelta(hours=hours_ago)
    made = WebhookDelivery.objects.create(
        endpoint=row, event=record_event("agent.started"), state=state, created_at=at, **more
    )
    if duration_ms is not None:
        WebhookAttempt.objects.create(
            delivery=made, number=1, trigger="event", started_at=at, duration_ms=duration_ms
        )
    return made


@pytest.fixture
def row() -> WebhookEndpoint:
    """An endpoint that matches none of the events of these tests."""
    return endpoint(events=["plugin.succeeded"])


def test_an_unused_endpoint_is_idle_and_has_no_figures(row: WebhookEndpoint) -> None:
    found = health_of(row, NOW)
    assert (found.condition, found.success_ratio, found.duration_ms_p95) == (EndpointCondition.IDLE, None, None)
    assert found.oldest_pending_seconds is None
    assert set(found.counts) == set(WebhookDelivery.State.values) and not any(found.counts.values())
    assert len(found.strip) == 24


def test_the_success_ratio_ignores_pending_muted_and_test_deliveries(row: WebhookEndpoint) -> None:
    for state in ("delivered", "delivered", "delivered", "exhausted", "pending", "cancelled"):
        delivery(row, state)
    delivery(row, "failed", next_trigger="test")
    assert health_of(row, NOW).success_ratio == 0.75


@pytest.mark.parametrize("state", [state.value for state in health.FAILED])
def test_every_undelivered_final_state_counts_as_failed(row: WebhookEndpoint, state: str) -> None:
    delivery(row, state)
    found = health_of(row, NOW)
    assert (found.success_ratio, found.strip[-1].failed, found.counts[state]) == (0.0, 1, 1)


def test_each_delivery_is_counted_in_its_hour(row: WebhookEndpoint) -> None:
    for hours_ago in (0, 0.3, 1, 23.2):
        delivery(row, hours_ago=hours_ago)
    delivery(row, "pending", hours_ago=1)
    delivery(row, "cancelled", hours_ago=1)
    delivery(row, hours_ago=24)  # the hour before the first
    strip = health_of(row, NOW).strip
    assert [hour.delivered for hour in strip] == [1, *[0] * 21, 1, 2]
    assert (strip[22].pending, strip[22].cancelled) == (1, 1)
    assert strip[0].start == datetime(2026, 3, 3, 13, tzinfo=UTC)
    assert strip[-1].start == datetime(2026, 3, 4, 12, tzinfo=UTC)


def test_p95_is_computed_for_each_endpoint_from_attempts_with_a_duration(row: WebhookEndpoint) -> None:
    other = endpoint(name="other", events=["plugin.succeeded"])
    for duration in range(1, 101):
        delivery(row, duration_ms=duration * 10)
    delivery(row)
    delivery(other, duration_ms=7)
    found = health_of_many([row, other], NOW)
    assert (found[row.pk].duration_ms_p95, found[other.pk].duration_ms_p95) == (950, 7)


def test_pending_deliveries_are_counted_however_old(row: WebhookEndpoint) -> None:
    delivery(row, "pending", hours_ago=30)
    delivery(row, "pending", hours_ago=1)
    found = health_of(row, NOW)
    assert (found.counts["pending"], found.oldest_pending_seconds) == (2, 30 * 3600)
    assert sum(hour.pending for hour in found.strip) == 1


@pytest.mark.parametrize(
    ("columns", "condition"),
    [
        ({"last_success_at": NOW}, EndpointCondition.OK),
        ({"last_success_at": NOW, "failing_since": NOW}, EndpointCondition.FAILING),
        ({"last_error": "the template has no such word"}, EndpointCondition.FAILING),
        ({"paused_until": NOW + timedelta(seconds=9)}, EndpointCondition.WAITING),
        ({"paused_until": NOW - timedelta(seconds=9), "last_success_at": NOW}, EndpointCondition.OK),
        ({"connect_failures": 5, "paused_until": NOW + timedelta(seconds=9)}, EndpointCondition.OPEN),
        ({"connect_failures": 5, "enabled": False}, EndpointCondition.OFF),
    ],
)
def test_the_condition_of_an_endpoint(
    row: WebhookEndpoint, columns: dict[str, Any], condition: EndpointCondition
) -> None:
    for name, value in columns.items():
        setattr(row, name, value)
    assert health_of(row, NOW).condition is condition


def test_a_page_of_endpoints_takes_three_queries(django_assert_num_queries: Any) -> None:
    rows = [endpoint(name=f"ops {number}", events=["plugin.succeeded"]) for number in range(5)]
    for row in rows:
        delivery(row, duration_ms=3)
        delivery(row, "pending")
    with django_assert_num_queries(3):
        found = health_of_many(rows, NOW)
    assert [found[row.pk].success_ratio for row in rows] == [1.0] * 5
