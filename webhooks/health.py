"""Delivery health of endpoints: success ratio, p95 duration, pending deliveries, and counts by hour for 24 hours.

Three queries, however many endpoints. Test deliveries are not counted, and muted ones are not failures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import Case, Count, F, IntegerField, Min, QuerySet, Value, When, Window
from django.db.models.functions import RowNumber

from .delivery.circuit import FAILURE_THRESHOLD
from .models import WebhookAttempt, WebhookDelivery, WebhookEndpoint

HOURS = 24
PERCENTILE = 95
State, Trigger = WebhookDelivery.State, WebhookDelivery.Trigger
FAILED = (State.FAILED, State.EXHAUSTED, State.BLOCKED, State.EXPIRED, State.DEAD)
Counts = dict[str, int]


class EndpointCondition(StrEnum):
    OFF = "off"
    IDLE = "idle"  # nothing sent yet
    OK = "ok"
    WAITING = "waiting"  # the receiver asked to wait (Retry-After)
    FAILING = "failing"  # the last attempt failed
    OPEN = "open"  # circuit open: unreachable, one probe a minute


@dataclass(frozen=True)
class HourCounts:
    """Deliveries created in that hour, by their present state."""

    start: datetime
    delivered: int = 0
    failed: int = 0
    pending: int = 0
    cancelled: int = 0


@dataclass(frozen=True)
class EndpointHealth:
    """`counts` has every state: `pending` counts all of them, the others those of the last 24 hours.

    `success_ratio`: delivered / (delivered + failed), None without any. `duration_ms_p95`: of attempts.
    `oldest_pending_seconds`: None if nothing is pending.
    """

    condition: EndpointCondition
    counts: Counts
    success_ratio: float | None
    duration_ms_p95: int | None
    oldest_pending_seconds: float | None
    strip: tuple[HourCounts, ...]
    last_success_at: datetime | None
    failing_since: datetime | None
    paused_until: datetime | None
    connect_failures: int
    last_error: str
    disabled_reason: str


def health_of(endpoint: WebhookEndpoint, now: datetime) -> EndpointHealth:
    return health_of_many([endpoint], now)[endpoint.pk]


def health_of_many(endpoints: Iterable[WebhookEndpoint], now: datetime) -> dict[int, EndpointHealth]:
    rows = {endpoint.pk: endpoint for endpoint in endpoints}
    hours = _hours(now)
    recent = WebhookDelivery.objects.filter(endpoint__in=rows, created_at__gte=hours[0])
    # Tests sent by hand say nothing about normal operation.
    recent = recent.exclude(next_trigger=Trigger.TEST).order_by()
    counts, pending, p95 = _hourly_counts(recent, hours), _pending(rows), _p95_durations(recent)
    return {
        pk: _health(endpoint, counts.get(pk, {}), pending.get(pk), p95.get(pk), hours, now)
        for pk, endpoint in rows.items()
    }


def _hours(now: datetime) -> list[datetime]:
    this = now.replace(minute=0, second=0, microsecond=0)
    return [this - timedelta(hours=back) for back in reversed(range(HOURS))]


def _hourly_counts(
    recent: QuerySet[WebhookDelivery], hours: list[datetime]
) -> dict[int, dict[tuple[int, str], int]]:
    """endpoint → (index of the hour, state) → count."""
    # Plain comparisons: on SQLite, truncating timestamps would call back into Python for each row.
    later = [When(created_at__gte=start, then=Value(number)) for number, start in enumerate(hours)]
    hour = Case(*reversed(later), default=Value(0), output_field=IntegerField())
    found: dict[int, dict[tuple[int, str], int]] = {}
    grouped = recent.annotate(hour=hour).values_list("endpoint_id", "hour", "state").annotate(count=Count("pk"))
    for endpoint, number, state, count in grouped:
        found.setdefault(endpoint, {})[number, state] = count
    return found


def _pending(endpoints: Iterable[int]) -> dict[int, tuple[int, datetime]]:
    """endpoint → number of pending deliveries, and when the oldest was created."""
    pending = WebhookDelivery.objects.filter(endpoint__in=endpoints, state=State.PENDING).order_by()
    grouped = pending.values_list("endpoint_id").annotate(count=Count("pk"), oldest=Min("created_at"))
    return {endpoint: (count, oldest) for endpoint, count, oldest in grouped}


def _p95_durations(recent: QuerySet[WebhookDelivery]) -> dict[int, int]:
    """endpoint → 95th percentile of the attempts' durations in ms (nearest rank)."""
    timed = WebhookAttempt.objects.filter(delivery__in=recent, duration_ms__isnull=False).order_by()
    by_endpoint = [F("delivery__endpoint_id")]
    # In integers, times 100: no rounding differences between databases.
    ranked = timed.annotate(
        rank=Window(RowNumber(), partition_by=by_endpoint, order_by=[F("duration_ms"), F("pk")]) * 100,
        wanted=Window(Count("pk"), partition_by=by_endpoint) * PERCENTILE,
    )
    chosen = ranked.filter(rank__gte=F("wanted"), rank__lt=F("wanted") + 100)
    found = chosen.values_list("delivery__endpoint_id", "duration_ms")
    return {endpoint: duration for endpoint, duration in found if duration is not None}


def _health(
    endpoint: WebhookEndpoint,
    hourly: Mapping[tuple[int, str], int],
    pending: tuple[int, datetime] | None,
    p95: int | None,
    hours: list[datetime],
    now: datetime,
) -> EndpointHealth:
    counts = {state.value: 0 for state in State}
    for (_, state), count in hourly.items():
        counts[state] += count
    counts[State.PENDING] = pending[0] if pending else 0
    finished = counts[State.DELIVERED] + sum(counts[state] for state in FAILED)
    return EndpointHealth(
        condition=condition_of(endpoint, now),
        counts=counts,
        success_ratio=counts[State.DELIVERED] / finished if finished else None,
        duration_ms_p95=p95,
        oldest_pending_seconds=max(0.0, (now - pending[1]).total_seconds()) if pending else None,
        strip=tuple(_hour(start, number, hourly) for number, start in enumerate(hours)),
        last_success_at=endpoint.last_success_at,
        failing_since=endpoint.failing_since,
        paused_until=endpoint.paused_until if endpoint.paused_until and endpoint.paused_until > now else None,
        connect_failures=endpoint.connect_failures,
        last_error=endpoint.last_error,
        disabled_reason=endpoint.disabled_reason,
    )


def _hour(start: datetime, number: int, hourly: Mapping[tuple[int, str], int]) -> HourCounts:
    return HourCounts(
        start=start,
        delivered=hourly.get((number, State.DELIVERED), 0),
        failed=sum(hourly.get((number, state), 0) for state in FAILED),
        pending=hourly.get((number, State.PENDING), 0),
        cancelled=hourly.get((number, State.CANCELLED), 0),
    )


def condition_of(endpoint: WebhookEndpoint, now: datetime) -> EndpointCondition:
    # The first that holds, worst first.
    conditions = (
        (not endpoint.enabled, EndpointCondition.OFF),
        (endpoint.connect_failures >= FAILURE_THRESHOLD, EndpointCondition.OPEN),
        (endpoint.paused_until is not None and endpoint.paused_until > now, EndpointCondition.WAITING),
        (endpoint.failing_since is not None or bool(endpoint.last_error), EndpointCondition.FAILING),
        (endpoint.last_success_at is None, EndpointCondition.IDLE),
    )
    return next((condition for holds, condition in conditions if holds), EndpointCondition.OK)
