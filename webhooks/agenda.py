"""What can be sent, and when: the one look that both the pump and the sender take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from . import pace
from .circuit import Health
from .models import WebhookDelivery, WebhookEndpoint


class Lane(StrEnum):
    """Deliveries whose sender died go in a lane of their own, one at a time: if it dies again, it was them."""

    REGULAR = "regular"
    SUSPECT = "suspect"


Message = tuple[int, tuple[str, ...]]  # endpoint id, and the ids of the deliveries that go out together
# Worded as the conditions of the two partial indexes, which only then are used.
LANES: dict[str, dict[str, Any]] = {Lane.REGULAR: {"crash_count": 0}, Lane.SUSPECT: {"crash_count__gt": 0}}


@dataclass(frozen=True)
class Opening:
    """From `at` on, up to `slots` messages may be sent to `endpoint`, which has something pending."""

    endpoint: WebhookEndpoint
    at: datetime
    slots: int


def pending(lane: str) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(state="pending", **LANES[lane])


def openings(lane: str, now: datetime, busy: Collection[Message] = ()) -> list[Opening]:
    """One for each enabled endpoint with something pending, soonest first.

    `busy` is what the caller has in flight itself.
    """
    first = pending(lane).filter(endpoint=OuterRef("pk")).order_by("next_attempt_at").values("next_attempt_at")[:1]
    endpoints = WebhookEndpoint.objects.filter(enabled=True).order_by("pk").annotate(first_at=Subquery(first))
    waiting = [endpoint for endpoint in endpoints if endpoint.first_at is not None]
    if not waiting:
        return []
    flights = _in_flight(now, busy)
    found = [_opening(endpoint, endpoint.first_at, flights[endpoint.pk], now) for endpoint in waiting]
    return sorted(found, key=lambda opening: opening.at)


def next_moment(now: datetime) -> datetime | None:
    """When the sender has something to do next, in either lane; now or earlier means at once."""
    firsts = (opening.at for lane in LANES for opening in openings(lane, now)[:1])
    return min(firsts, default=None)


@dataclass
class _Flights:
    """Messages of one endpoint under way; `lease_end` is the soonest of those that others send."""

    count: int = 0
    lease_end: datetime | None = None


def _in_flight(now: datetime, busy: Collection[Message]) -> defaultdict[int, _Flights]:
    flights: defaultdict[int, _Flights] = defaultdict(_Flights)
    for endpoint, _ in busy:
        flights[endpoint].count += 1
    ours = {delivery for _, deliveries in busy for delivery in deliveries}
    for endpoint, delivery, lease in _leases(now):
        if delivery not in ours:
            flights[endpoint].count += 1
            flights[endpoint].lease_end = min(flights[endpoint].lease_end or lease, lease)
    return flights


def _leases(now: datetime) -> Iterator[tuple[int, str, datetime]]:
    leased = WebhookDelivery.objects.filter(lease_until__isnull=False, lease_until__gt=now)
    for endpoint, delivery, until in leased.values_list("endpoint_id", "pk", "lease_until"):
        if until is not None:
            yield endpoint, delivery, until


def health_of(endpoint: WebhookEndpoint) -> Health:
    return Health(
        connect_failures=endpoint.connect_failures,
        paused_until=endpoint.paused_until,
        failing_since=endpoint.failing_since,
        failed_messages=endpoint.failed_messages,
        last_success_at=endpoint.last_success_at,
    )


def _opening(endpoint: WebhookEndpoint, first: datetime, flights: _Flights, now: datetime) -> Opening:
    at = max(first, pace.ready_at(endpoint.paced_until, endpoint.rate_per_second, now))
    if endpoint.paused_until:
        at = max(at, endpoint.paused_until)
    most = health_of(endpoint).most_at_a_time
    free = min(endpoint.max_concurrency, most or endpoint.max_concurrency) - flights.count
    if free <= 0:
        # Whoever ends a flight rings; failing that, the end of its lease is the next chance.
        return Opening(endpoint, max(at, flights.lease_end or datetime.max.replace(tzinfo=at.tzinfo)), 0)
    return Opening(endpoint, at, min(free, pace.allowed(endpoint.paced_until, endpoint.rate_per_second, now)))
