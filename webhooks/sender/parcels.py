"""Claims what is due and makes it ready to send. What is claimed is committed before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import F, Q, QuerySet

from core.secrets import SecretUnreadableError
from programs.models import ProgramEvent
from webhooks import bodies, pace, transports
from webhooks.agenda import Lane, Opening, pending
from webhooks.defaults import MESSAGE_MAX_AGE_SECONDS
from webhooks.models import WebhookDelivery, WebhookEndpoint
from webhooks.schedule import is_expired
from webhooks.transports import UnknownKindError
from webhooks.transports.base import Transport

LEASE_MARGIN = timedelta(seconds=15)  # beyond the time a request may take: for writing down what came
LARGEST_BUNDLE = 50
State = WebhookDelivery.State


@dataclass(frozen=True)
class Destination:
    """An endpoint with everything in clear. `unusable` says why nothing can be sent there, if so."""

    id: int
    name: str
    timeout: float = 15
    transport: Transport[Any] | None = None
    url: str = field(default="", repr=False)
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    secret: str = field(default="", repr=False)
    old_secret: str = field(default="", repr=False)
    old_secret_until: datetime | None = None
    unusable: str = ""

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> Destination:
        try:
            return cls(
                id=endpoint.pk,
                name=endpoint.name,
                timeout=endpoint.timeout_seconds,
                transport=transports.get(endpoint.format),
                url=endpoint.url,
                settings=endpoint.settings,
                secret=endpoint.secret,
                old_secret=endpoint.old_secret,
                old_secret_until=endpoint.old_secret_until,
            )
        except (SecretUnreadableError, UnknownKindError) as error:
            return cls(id=endpoint.pk, name=endpoint.name, unusable=str(error))

    def secrets(self, now: datetime) -> list[str]:
        """Those to sign with: for a while after a rotation the old one too."""
        has_old = self.old_secret and self.old_secret_until is not None and now < self.old_secret_until
        return [self.secret, self.old_secret] if has_old else [self.secret]

    def max_age(self, endpoint: WebhookEndpoint) -> float | None:
        is_chat = self.transport is not None and self.transport.is_chat
        return endpoint.max_age_seconds or (MESSAGE_MAX_AGE_SECONDS if is_chat else None)


@dataclass(frozen=True)
class Item:
    """A claimed delivery. `number` and `tries` count this try already."""

    delivery: str
    event: int
    event_at: datetime
    number: int
    tries: int
    trigger: str


@dataclass
class Parcel:
    """What goes out as one request: one delivery, or several bundled."""

    destination: Destination
    items: tuple[Item, ...]
    lease_until: datetime
    bodies: list[bodies.Body] = field(default_factory=list)

    @property
    def message(self) -> tuple[int, tuple[str, ...]]:
        return self.destination.id, tuple(item.delivery for item in self.items)


class Claimer:
    """Takes turns, so that whoever has much to get does not go before the others every time."""

    def __init__(self, lane: str) -> None:
        self._lane = lane
        self._turn = 0
        self._known: dict[tuple[int, int], Destination] = {}

    def claim(self, openings: Iterable[Opening], room: int, now: datetime) -> list[Parcel]:
        """At most `room` parcels, leased. Call it inside `atomic()`; `fill` them once that is committed."""
        open_now = [opening for opening in openings if opening.at <= now and opening.slots > 0]
        self._turn += 1
        start = self._turn % len(open_now) if open_now else 0
        parcels: list[Parcel] = []
        for opening in open_now[start:] + open_now[:start]:
            if len(parcels) < room:
                parcels += self._of(opening, min(opening.slots, room - len(parcels)), now)
        return parcels

    def _of(self, opening: Opening, most: int, now: datetime) -> list[Parcel]:
        endpoint = opening.endpoint
        destination = self._destination(endpoint)
        bundles = endpoint.bundle_seconds > 0 and self._lane == Lane.REGULAR
        rows = _due(endpoint, self._lane, now, bundles)[: LARGEST_BUNDLE if bundles else most]
        fresh = _without_expired(list(rows), destination.max_age(endpoint), now)
        if not fresh:
            return []
        lease = now + timedelta(seconds=endpoint.timeout_seconds) + LEASE_MARGIN
        claimed = _lease(fresh, lease)
        groups = [tuple(claimed)] if bundles else [(item,) for item in claimed]
        rate = endpoint.rate_per_second
        endpoint.paced_until = pace.after(endpoint.paced_until, rate, now, len(groups))
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(paced_until=endpoint.paced_until)
        return [Parcel(destination, items, lease) for items in groups]

    def _destination(self, endpoint: WebhookEndpoint) -> Destination:
        key = (endpoint.pk, endpoint.revision)
        if key not in self._known:
            self._known[key] = Destination.of(endpoint)
        return self._known[key]


def _due(endpoint: WebhookEndpoint, lane: str, now: datetime, bundles: bool) -> QuerySet[WebhookDelivery]:
    """Oldest first. A bundle takes along what came after the first of it and has not been tried yet."""
    ready = Q(next_attempt_at__lte=now)
    if bundles:
        window = now + timedelta(seconds=endpoint.bundle_seconds)
        ready |= Q(round_count=0, lease_until=None, next_attempt_at__lte=window)
    rows = pending(lane).filter(ready, endpoint=endpoint).order_by("next_attempt_at", "pk")
    if connection.features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True, of=("self",))
    return rows.annotate(event_at=F("event__timestamp"))


def _without_expired(rows: list[Any], max_age: float | None, now: datetime) -> list[Any]:
    expired = [row.pk for row in rows if row.next_trigger != "manual" and is_expired(row.event_at, max_age, now)]
    if expired:
        WebhookDelivery.objects.filter(pk__in=expired).update(
            state=State.EXPIRED, finished_at=now, next_attempt_at=None, reason="the event is too old to be told"
        )
    return [row for row in rows if row.pk not in set(expired)]


def _lease(rows: list[Any], until: datetime) -> list[Item]:
    """Compare and set: only rows that are as they were read become ours."""
    ids = [row.pk for row in rows]
    taken = WebhookDelivery.objects.filter(pk__in=ids, state=State.PENDING, lease_until=None).update(
        lease_until=until,
        next_attempt_at=until,
        attempt_count=F("attempt_count") + 1,
        round_count=F("round_count") + 1,
    )
    if taken != len(ids):
        ours = set(WebhookDelivery.objects.filter(pk__in=ids, lease_until=until).values_list("pk", flat=True))
        rows = [row for row in rows if row.pk in ours]
    return [_item(row) for row in rows]


def _item(row: Any) -> Item:
    return Item(
        delivery=row.pk,
        event=row.event_id,
        event_at=row.event_at,
        number=row.attempt_count + 1,
        tries=row.round_count + 1,
        trigger=row.next_trigger,
    )


def fill(parcels: list[Parcel]) -> None:
    """Puts in the bodies: one look for all events, however many endpoints get them."""
    wanted = {item.event for parcel in parcels for item in parcel.items}
    found = bodies.build(ProgramEvent.objects.filter(pk__in=wanted).select_related("program__host"))
    for parcel in parcels:
        parcel.items = tuple(item for item in parcel.items if item.event in found)
        parcel.bodies = [found[item.event] for item in parcel.items]
