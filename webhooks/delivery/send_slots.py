"""What may be sent to which endpoint, and when: pending deliveries, rate limit, circuit breaker and concurrency.

Both the pump (is a job needed?) and the worker (what can be claimed?) ask here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models import F

from core import bulk_sql
from webhooks.models import WebhookDelivery, WebhookEndpoint

from . import job_locks, rate_limit
from .circuit import FAILURE_THRESHOLD


class SendQueue(StrEnum):
    """Deliveries whose worker crashed move to SUSPECT. It sends one at a time, to find the one that crashes it."""

    REGULAR = "regular"
    SUSPECT = "suspect"


InFlightMessage = tuple[int, tuple[str, ...]]  # endpoint id, ids of the deliveries sent together
Lease = tuple[int, str, datetime]  # endpoint id, delivery id, end
# Same wording as the conditions of the two partial indexes: otherwise they are not used.
QUEUE_FILTERS = {SendQueue.REGULAR: "crash_count = 0", SendQueue.SUSPECT: "crash_count > 0"}
PENDING_ENDPOINTS = """
SELECT e.id, e.name, e.revision, e.max_concurrency, e.rate_per_second, e.bundle_seconds, e.max_age_seconds,
    e.connect_failures, e.paused_until, e.paced_until,
    (SELECT d.next_attempt_at FROM {delivery} d
     WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.{queue}
     ORDER BY d.next_attempt_at LIMIT 1) AS first_at
FROM {endpoint} e WHERE e.enabled ORDER BY e.id
"""
TABLES = {"delivery": WebhookDelivery._meta.db_table, "endpoint": WebhookEndpoint._meta.db_table}
NEVER = datetime.max.replace(tzinfo=UTC)


# With slots: created for every endpoint in every claim, many times a second.
@dataclass(slots=True)
class PendingEndpoint:
    """An enabled endpoint with pending deliveries. `first_at`: when the first of them is due."""

    pk: int
    name: str
    revision: int
    max_concurrency: int
    rate_per_second: float
    bundle_seconds: float
    max_age_seconds: int | None
    connect_failures: int
    paused_until: datetime | None
    paced_until: datetime | None
    first_at: datetime


@dataclass(frozen=True)
class SendSlot:
    """From `at` on, up to `slots` messages may be sent to `endpoint`."""

    endpoint: PendingEndpoint
    at: datetime
    slots: int


@dataclass
class InFlight:
    """Messages to one endpoint being sent. `lease_end`: the earliest end among the leases of other workers."""

    count: int = 0
    lease_end: datetime | None = None


def pending_endpoints(queue: str) -> list[PendingEndpoint]:
    found = bulk_sql.fetch(PENDING_ENDPOINTS.format(**TABLES, queue=QUEUE_FILTERS[SendQueue(queue)]), ())
    return [_pending_endpoint(*row) for row in found if row[-1] is not None]


def _pending_endpoint(*columns: Any) -> PendingEndpoint:
    found = PendingEndpoint(*columns)
    found.paused_until = bulk_sql.to_datetime_or_none(found.paused_until)
    found.paced_until = bulk_sql.to_datetime_or_none(found.paced_until)
    found.first_at = bulk_sql.to_datetime(found.first_at)
    return found


def active_leases(now: datetime) -> list[Lease]:
    held = WebhookDelivery.objects.filter(lease_until__isnull=False, lease_until__gt=now)
    found = held.values_list("endpoint_id", "pk", "lease_until")
    return [(endpoint, delivery, until) for endpoint, delivery, until in found if until is not None]


def shift_timestamps(by: timedelta) -> None:
    """Moves every due time, lease, pause and lock back, after the clock was set back by that much."""
    with transaction.atomic():
        WebhookDelivery.objects.filter(next_attempt_at__isnull=False).update(
            next_attempt_at=F("next_attempt_at") - by, lease_until=F("lease_until") - by
        )
        WebhookEndpoint.objects.filter(paused_until__isnull=False).update(paused_until=F("paused_until") - by)
        job_locks.shift_timestamps(by)


def count_in_flight(
    other_leases: Iterable[Lease], own: Iterable[InFlightMessage] = ()
) -> defaultdict[int, InFlight]:
    """By endpoint id: the caller's `own` messages and the leases of other workers."""
    found: defaultdict[int, InFlight] = defaultdict(InFlight)
    for endpoint, _ in own:
        found[endpoint].count += 1
    for endpoint, _, until in other_leases:
        found[endpoint].count += 1
        found[endpoint].lease_end = min(found[endpoint].lease_end or until, until)
    return found


def send_slots(
    endpoints: Iterable[PendingEndpoint], in_flight: Mapping[int, InFlight], now: datetime
) -> list[SendSlot]:
    """One for each endpoint, soonest first."""
    found = [_send_slot(endpoint, in_flight.get(endpoint.pk, InFlight()), now) for endpoint in endpoints]
    return sorted(found, key=lambda slot: slot.at)


def next_send_at(queue: str, now: datetime) -> datetime | None:
    """When the worker of `queue` has to send something next; in the past when it is due already."""
    endpoints = pending_endpoints(queue)
    return send_slots(endpoints, count_in_flight(active_leases(now)), now)[0].at if endpoints else None


def _send_slot(endpoint: PendingEndpoint, in_flight: InFlight, now: datetime) -> SendSlot:
    at = max(endpoint.first_at, rate_limit.ready_at(endpoint.paced_until, endpoint.rate_per_second, now))
    # Set by an open circuit, or by a Retry-After of the receiver.
    if endpoint.paused_until:
        at = max(at, endpoint.paused_until)
    # An open circuit lets one probe through at a time.
    limit = 1 if endpoint.connect_failures >= FAILURE_THRESHOLD else endpoint.max_concurrency
    free = limit - in_flight.count
    if free <= 0:
        # A worker that finishes a message wakes the others up. If it crashes, its lease ends the wait.
        return SendSlot(endpoint, max(at, in_flight.lease_end or NEVER), 0)
    return SendSlot(
        endpoint, at, min(free, rate_limit.available(endpoint.paced_until, endpoint.rate_per_second, now))
    )
