"""What can be sent, and when: the one look that both the pump and the sender take."""

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
from .circuit import OPENS_AFTER


class Lane(StrEnum):
    """Deliveries whose sender died go in a lane of their own, one at a time: if it dies again, it was them."""

    REGULAR = "regular"
    SUSPECT = "suspect"


Message = tuple[int, tuple[str, ...]]  # endpoint id, and the ids of the deliveries that go out together
Lease = tuple[int, str, datetime]  # endpoint id, delivery id, until when
# Worded as the conditions of the two partial indexes, which only then are used.
LANES = {Lane.REGULAR: "crash_count = 0", Lane.SUSPECT: "crash_count > 0"}
WAITING = """
SELECT e.id, e.name, e.revision, e.max_concurrency, e.rate_per_second, e.bundle_seconds, e.max_age_seconds,
    e.connect_failures, e.paused_until, e.paced_until,
    (SELECT d.next_attempt_at FROM {delivery} d
     WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.{lane}
     ORDER BY d.next_attempt_at LIMIT 1) AS first_at
FROM {endpoint} e WHERE e.enabled ORDER BY e.id
"""
TABLES = {"delivery": WebhookDelivery._meta.db_table, "endpoint": WebhookEndpoint._meta.db_table}
FAR = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class Waiting:
    """An enabled endpoint with something pending; `first_at` is the moment of the first."""

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

    endpoint: Waiting
    at: datetime
    slots: int


@dataclass
class InFlight:
    """Messages of one endpoint under way; `lease_end` is the soonest of those that others send."""

    count: int = 0
    lease_end: datetime | None = None


def waiting(lane: str) -> list[Waiting]:
    found = bulk_sql.fetch(WAITING.format(**TABLES, lane=LANES[Lane(lane)]), ())
    return [_waiting(*row) for row in found if row[-1] is not None]


def _waiting(*columns: Any) -> Waiting:
    found = Waiting(*columns)
    found.paused_until = bulk_sql.to_datetime_or_none(found.paused_until)
    found.paced_until = bulk_sql.to_datetime_or_none(found.paced_until)
    found.first_at = bulk_sql.to_datetime(found.first_at)
    return found


def leases(now: datetime) -> list[Lease]:
    """What senders hold at present."""
    held = WebhookDelivery.objects.filter(lease_until__isnull=False, lease_until__gt=now)
    found = held.values_list("endpoint_id", "pk", "lease_until")
    return [(endpoint, delivery, until) for endpoint, delivery, until in found if until is not None]


def bring_forward(by: timedelta) -> None:
    """All that waits for a moment waits for one that much earlier."""
    with transaction.atomic():
        WebhookDelivery.objects.filter(next_attempt_at__isnull=False).update(
            next_attempt_at=F("next_attempt_at") - by, lease_until=F("lease_until") - by
        )
        WebhookEndpoint.objects.filter(paused_until__isnull=False).update(paused_until=F("paused_until") - by)
        job_locks.bring_forward(by)


def flights(foreign: Iterable[Lease], own: Iterable[Message] = ()) -> defaultdict[int, InFlight]:
    """By endpoint: the caller's `own` messages, and the leases of others."""
    found: defaultdict[int, InFlight] = defaultdict(InFlight)
    for endpoint, _ in own:
        found[endpoint].count += 1
    for endpoint, _, until in foreign:
        found[endpoint].count += 1
        found[endpoint].lease_end = min(found[endpoint].lease_end or until, until)
    return found


def openings(endpoints: Iterable[Waiting], under_way: Mapping[int, InFlight], now: datetime) -> list[SendSlot]:
    """One for each of `waiting`, soonest first."""
    found = [_opening(endpoint, under_way.get(endpoint.pk, InFlight()), now) for endpoint in endpoints]
    return sorted(found, key=lambda opening: opening.at)


def next_moment(lane: str, now: datetime) -> datetime | None:
    """When a sender has something to do next; now or earlier means at once."""
    endpoints = waiting(lane)
    return openings(endpoints, flights(leases(now)), now)[0].at if endpoints else None


def _opening(endpoint: Waiting, under_way: InFlight, now: datetime) -> SendSlot:
    at = max(endpoint.first_at, rate_limit.ready_at(endpoint.paced_until, endpoint.rate_per_second, now))
    if endpoint.paused_until:
        at = max(at, endpoint.paused_until)
    most = 1 if endpoint.connect_failures >= OPENS_AFTER else endpoint.max_concurrency
    free = most - under_way.count
    if free <= 0:
        # Whoever ends a flight looks again or rings; failing that, the end of its lease is the next chance.
        return SendSlot(endpoint, max(at, under_way.lease_end or FAR), 0)
    return SendSlot(
        endpoint, at, min(free, rate_limit.allowed(endpoint.paced_until, endpoint.rate_per_second, now))
    )
