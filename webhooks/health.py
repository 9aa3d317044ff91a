"""How the deliveries of endpoints do: shares, times, what waits, and the last 24 hours one by one.

For a page of endpoints in three queries, however many there are. The clock is an argument. Tests by hand count
for nothing here, and what a mute cancelled is no failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import Case, Count, F, IntegerField, Min, QuerySet, Value, When, Window
from django.db.models.functions import RowNumber

from .delivery.circuit import OPENS_AFTER
from .models import WebhookAttempt, WebhookDelivery, WebhookEndpoint

HOURS = 24
PERCENTILE = 95
State, Trigger = WebhookDelivery.State, WebhookDelivery.Trigger
FAILED = (State.FAILED, State.EXHAUSTED, State.BLOCKED, State.EXPIRED, State.DEAD)
Counts = dict[str, int]


class Condition(StrEnum):
    """An endpoint in one word, for a badge."""

    OFF = "off"
    IDLE = "idle"  # nothing was sent there yet
    OK = "ok"
    WAITING = "waiting"  # the receiver asked for patience
    FAILING = "failing"  # what was sent last did not arrive
    OPEN = "open"  # it cannot be reached, so only one delivery a minute is tried


@dataclass(frozen=True)
class Hour:
    """Deliveries by the hour in which their event was written, and what has become of them by now."""

    start: datetime
    delivered: int = 0
    failed: int = 0
    pending: int = 0
    cancelled: int = 0


@dataclass(frozen=True)
class EndpointHealth:
    """`counts` has every state; `pending` in it is all that waits, the rest is of the last 24 hours.

    `success_ratio` is delivered against delivered and failed, None without either; `duration_ms_p95` is of single
    tries, in milliseconds; `oldest_pending_seconds` is None when nothing waits.
    """

    condition: Condition
    counts: Counts
    success_ratio: float | None
    duration_ms_p95: int | None
    oldest_pending_seconds: float | None
    strip: tuple[Hour, ...]
    last_success_at: datetime | None
    failing_since: datetime | None
    paused_until: datetime | None
    connect_failures: int
    last_error: str
    disabled_reason: str


def health_of(endpoint: WebhookEndpoint, now: datetime) -> EndpointHealth:
    return health_of_many([endpoint], now)[endpoint.pk]


def health_of_many(endpoints: Iterable[WebhookEndpoint], now: datetime) -> dict[int, EndpointHealth]:
    """By endpoint id."""
    rows = {endpoint.pk: endpoint for endpoint in endpoints}
    hours = _hours(now)
    recent = WebhookDelivery.objects.filter(endpoint__in=rows, created_at__gte=hours[0])
    recent = recent.exclude(next_trigger=Trigger.TEST).order_by()
    cells, waiting, slowest = _cells(recent, hours), _waiting(rows), _percentiles(recent)
    return {
        pk: _health(endpoint, cells.get(pk, {}), waiting.get(pk), slowest.get(pk), hours, now)
        for pk, endpoint in rows.items()
    }


def _hours(now: datetime) -> list[datetime]:
    """The beginnings of the last 24 hours by the clock, the present one included; oldest first."""
    this = now.replace(minute=0, second=0, microsecond=0)
    return [this - timedelta(hours=back) for back in reversed(range(HOURS))]


def _cells(recent: QuerySet[WebhookDelivery], hours: list[datetime]) -> dict[int, dict[tuple[int, str], int]]:
    """endpoint → (number of the hour, state) → how many."""
    # Comparisons the database makes itself; truncating a moment would be a call back into Python for each row.
    later = [When(created_at__gte=start, then=Value(number)) for number, start in enumerate(hours)]
    hour = Case(*reversed(later), default=Value(0), output_field=IntegerField())
    found: dict[int, dict[tuple[int, str], int]] = {}
    grouped = recent.annotate(hour=hour).values_list("endpoint_id", "hour", "state").annotate(count=Count("pk"))
    for endpoint, number, state, count in grouped:
        found.setdefault(endpoint, {})[number, state] = count
    return found


def _waiting(endpoints: Iterable[int]) -> dict[int, tuple[int, datetime]]:
    """endpoint → how many are pending, however old, and since when the oldest is."""
    pending = WebhookDelivery.objects.filter(endpoint__in=endpoints, state=State.PENDING).order_by()
    grouped = pending.values_list("endpoint_id").annotate(count=Count("pk"), oldest=Min("created_at"))
    return {endpoint: (count, oldest) for endpoint, count, oldest in grouped}


def _percentiles(recent: QuerySet[WebhookDelivery]) -> dict[int, int]:
    """endpoint → the duration in ms that 95 of 100 tries do not exceed (nearest rank)."""
    timed = WebhookAttempt.objects.filter(delivery__in=recent, duration_ms__isnull=False).order_by()
    by_endpoint = [F("delivery__endpoint_id")]
    ranked = timed.annotate(
        rank=Window(RowNumber(), partition_by=by_endpoint, order_by=[F("duration_ms"), F("pk")]) * 100,
        wanted=Window(Count("pk"), partition_by=by_endpoint) * PERCENTILE,
    )
    chosen = ranked.filter(rank__gte=F("wanted"), rank__lt=F("wanted") + 100)
    found = chosen.values_list("delivery__endpoint_id", "duration_ms")
    return {endpoint: duration for endpoint, duration in found if duration is not None}


def _health(
    endpoint: WebhookEndpoint,
    cells: Mapping[tuple[int, str], int],
    waiting: tuple[int, datetime] | None,
    slowest: int | None,
    hours: list[datetime],
    now: datetime,
) -> EndpointHealth:
    counts = {state.value: 0 for state in State}
    for (_, state), count in cells.items():
        counts[state] += count
    counts[State.PENDING] = waiting[0] if waiting else 0
    ended = counts[State.DELIVERED] + sum(counts[state] for state in FAILED)
    return EndpointHealth(
        condition=condition_of(endpoint, now),
        counts=counts,
        success_ratio=counts[State.DELIVERED] / ended if ended else None,
        duration_ms_p95=slowest,
        oldest_pending_seconds=max(0.0, (now - waiting[1]).total_seconds()) if waiting else None,
        strip=tuple(_hour(start, number, cells) for number, start in enumerate(hours)),
        last_success_at=endpoint.last_success_at,
        failing_since=endpoint.failing_since,
        paused_until=endpoint.paused_until if endpoint.paused_until and endpoint.paused_until > now else None,
        connect_failures=endpoint.connect_failures,
        last_error=endpoint.last_error,
        disabled_reason=endpoint.disabled_reason,
    )


def _hour(start: datetime, number: int, cells: Mapping[tuple[int, str], int]) -> Hour:
    return Hour(
        start=start,
        delivered=cells.get((number, State.DELIVERED), 0),
        failed=sum(cells.get((number, state), 0) for state in FAILED),
        pending=cells.get((number, State.PENDING), 0),
        cancelled=cells.get((number, State.CANCELLED), 0),
    )


def condition_of(endpoint: WebhookEndpoint, now: datetime) -> Condition:
    """The first that holds."""
    told = (
        (not endpoint.enabled, Condition.OFF),
        (endpoint.connect_failures >= OPENS_AFTER, Condition.OPEN),
        (endpoint.paused_until is not None and endpoint.paused_until > now, Condition.WAITING),
        (endpoint.failing_since is not None or bool(endpoint.last_error), Condition.FAILING),
        (endpoint.last_success_at is None, Condition.IDLE),
    )
    return next((condition for holds, condition in told if holds), Condition.OK)
