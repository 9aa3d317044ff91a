"""What can be sent, and when: the one look that both the pump and the sender take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from . import pace
from .circuit import OPENS_AFTER
from .models import WebhookDelivery, WebhookEndpoint


class Lane(StrEnum):
    """Deliveries whose sender died go in a lane of their own, one at a time: if it dies again, it was them."""

    REGULAR = "regular"
    SUSPECT = "suspect"


Message = tuple[int, tuple[str, ...]]  # endpoint id, and the ids of the deliveries that go out together
Lease = tuple[int, str, datetime]  # endpoint id, delivery id, until when
# Worded as the conditions of the two partial indexes, which only then are used.
LANES: dict[str, dict[str, Any]] = {Lane.REGULAR: {"crash_count": 0}, Lane.SUSPECT: {"crash_count__gt": 0}}
LANES_SQL = {Lane.REGULAR: "crash_count = 0", Lane.SUSPECT: "crash_count > 0"}
LOOKED_AT = (
    "name", "format", "revision", "timeout_seconds", "max_concurrency", "rate_per_second", "bundle_seconds",
    "max_age_seconds", "connect_failures", "paused_until", "paced_until",
)  # fmt: skip
FAR = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Opening:
    """From `at` on, up to `slots` messages may be sent to `endpoint`, which has something pending.

    `endpoint` has the columns LOOKED_AT.
    """

    endpoint: WebhookEndpoint
    at: datetime
    slots: int


@dataclass
class Flights:
    """Messages of one endpoint under way; `lease_end` is the soonest of those that others send."""

    count: int = 0
    lease_end: datetime | None = None


def pending(lane: str) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(state="pending", **LANES[lane])


def waiting(lane: str) -> list[WebhookEndpoint]:
    """The enabled endpoints with something pending, with `first_at`, the moment of the first."""
    first = pending(lane).filter(endpoint=OuterRef("pk")).order_by("next_attempt_at").values("next_attempt_at")[:1]
    enabled = WebhookEndpoint.objects.filter(enabled=True).order_by("pk").only(*LOOKED_AT)
    return [endpoint for endpoint in enabled.annotate(first_at=Subquery(first)) if endpoint.first_at is not None]


def leases(now: datetime) -> list[Lease]:
    """What senders hold at present."""
    held = WebhookDelivery.objects.filter(lease_until__isnull=False, lease_until__gt=now)
    found = held.values_list("endpoint_id", "pk", "lease_until")
    return [(endpoint, delivery, until) for endpoint, delivery, until in found if until is not None]


def flights(foreign: Iterable[Lease], own: Iterable[Message] = ()) -> defaultdict[int, Flights]:
    """By endpoint: the caller's `own` messages, and the leases of others."""
    found: defaultdict[int, Flights] = defaultdict(Flights)
    for endpoint, _ in own:
        found[endpoint].count += 1
    for endpoint, _, until in foreign:
        found[endpoint].count += 1
        found[endpoint].lease_end = min(found[endpoint].lease_end or until, until)
    return found


def openings(
    endpoints: Iterable[WebhookEndpoint], under_way: Mapping[int, Flights], now: datetime
) -> list[Opening]:
    """One for each of `waiting`, soonest first."""
    found = [_opening(endpoint, under_way.get(endpoint.pk, Flights()), now) for endpoint in endpoints]
    return sorted(found, key=lambda opening: opening.at)


def next_moment(lane: str, now: datetime) -> datetime | None:
    """When a sender has something to do next; now or earlier means at once."""
    endpoints = waiting(lane)
    return openings(endpoints, flights(leases(now)), now)[0].at if endpoints else None


def _opening(endpoint: WebhookEndpoint, under_way: Flights, now: datetime) -> Opening:
    first: datetime = endpoint.first_at  # type: ignore[attr-defined]  # annotated
    at = max(first, pace.ready_at(endpoint.paced_until, endpoint.rate_per_second, now))
    if endpoint.paused_until:
        at = max(at, endpoint.paused_until)
    most = 1 if endpoint.connect_failures >= OPENS_AFTER else endpoint.max_concurrency
    free = most - under_way.count
    if free <= 0:
        # Whoever ends a flight looks again or rings; failing that, the end of its lease is the next chance.
        return Opening(endpoint, max(at, under_way.lease_end or FAR), 0)
    return Opening(endpoint, at, min(free, pace.allowed(endpoint.paced_until, endpoint.rate_per_second, now)))
