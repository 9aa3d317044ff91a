"""Claims what is due and makes it ready to send. What is claimed is committed before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from core import bulk_sql
from core.http import VERIFIED, Tls
from core.secrets import SecretUnreadableError
from programs.models import ProgramEvent
from webhooks import transports
from webhooks.defaults import MESSAGE_MAX_AGE_SECONDS
from webhooks.delivery import rate_limit
from webhooks.delivery.schedule import is_expired
from webhooks.delivery.send_slots import FAR, TABLES, Lane, SendSlot, Waiting
from webhooks.models import WebhookDelivery, WebhookEndpoint
from webhooks.outbox import payload
from webhooks.transports import UnknownKindError
from webhooks.transports.base import Transport

from .due import Due, due_rows

LEASE_MARGIN = timedelta(seconds=15)  # beyond the time a request may take: for writing down what came
LARGEST_BUNDLE = 50
MOST_BODIES = 500
SHORTEST_SECRET = 6  # blanking every short word of a URL would make an answer unreadable
State = WebhookDelivery.State
LEASE = """
UPDATE {delivery} SET lease_until = %s, next_attempt_at = %s, attempt_count = attempt_count + 1,
    round_count = round_count + 1
WHERE id IN ({ids}) AND state = 'pending' AND lease_until IS NULL
"""


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
    tls: Tls = VERIFIED
    unusable: str = ""
    hidden: tuple[str, ...] = field(default=(), repr=False)  # its credentials, as they might stand in an answer

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> Destination:
        try:
            found = cls(
                id=endpoint.pk,
                name=endpoint.name,
                timeout=endpoint.timeout_seconds,
                transport=transports.get(endpoint.format),
                url=endpoint.url,
                settings=endpoint.settings,
                secret=endpoint.secret,
                old_secret=endpoint.old_secret,
                old_secret_until=endpoint.old_secret_until,
                tls=Tls(endpoint.verify_tls, endpoint.ca_certificates),
            )
            return replace(found, hidden=_credentials(found))
        except (SecretUnreadableError, UnknownKindError) as error:
            return cls(id=endpoint.pk, name=endpoint.name, unusable=str(error))

    def secrets(self, now: datetime) -> list[str]:
        """Those to sign with: for a while after a rotation the old one too."""
        has_old = self.old_secret and self.old_secret_until is not None and now < self.old_secret_until
        return [self.secret, self.old_secret] if has_old else [self.secret]

    def max_age(self, endpoint: Waiting) -> float | None:
        is_chat = self.transport is not None and self.transport.is_chat
        return endpoint.max_age_seconds or (MESSAGE_MAX_AGE_SECONDS if is_chat else None)


def _credentials(destination: Destination) -> tuple[str, ...]:
    """The URL as a whole, the parts of its path and query, the signing secrets and the secret settings."""
    parts = urlsplit(destination.url)
    found = [destination.url, destination.secret, destination.old_secret, parts.query, *parts.path.split("/")]
    if destination.transport is not None:
        found += [str(destination.settings.get(name, "")) for name in destination.transport.secret_fields()]
    return tuple(text for text in found if len(text) >= SHORTEST_SECRET)


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
class Batch:
    """What goes out as one request: one delivery, or several bundled."""

    destination: Destination
    items: tuple[Item, ...]
    lease_until: datetime
    bodies: list[payload.Body] = field(default_factory=list)

    @property
    def message(self) -> tuple[int, tuple[str, ...]]:
        return self.destination.id, tuple(item.delivery for item in self.items)


@dataclass(frozen=True)
class _Draft:
    """Rows picked for an endpoint, not leased yet."""

    destination: Destination
    rows: list[Due]
    is_bundle: bool


class Claimer:
    """Takes turns, so that whoever has much to get does not go before the others every time."""

    def __init__(self, lane: str) -> None:
        self._lane = lane
        self._turn = 0
        self._known: dict[int, tuple[int, Destination]] = {}
        self._paced: dict[int, datetime] = {}
        self.ready_again = FAR  # when the rate of an endpoint that was just claimed for allows more

    def recall_pace(self, endpoints: Iterable[Waiting]) -> None:
        """What this sender has sent counts at once; the column learns of it when the sender ends."""
        for endpoint in endpoints:
            if (ours := self._paced.get(endpoint.pk)) is not None:
                endpoint.paced_until = max(ours, endpoint.paced_until or ours)

    def note_pace(self, now: datetime) -> None:
        for pk, until in self._paced.items():
            if until > now:
                WebhookEndpoint.objects.filter(pk=pk).update(paced_until=until)

    def claim(self, openings: Iterable[SendSlot], room: int, now: datetime) -> list[Batch]:
        """At most `room` parcels, leased. Call it inside `atomic()`, and send nothing before that is committed."""
        open_now = [opening for opening in openings if opening.at <= now and opening.slots > 0]
        self._turn += 1
        self.ready_again = FAR
        start = self._turn % len(open_now) if open_now else 0
        drafts: list[_Draft] = []
        for opening in open_now[start:] + open_now[:start]:
            if room > 0:
                drafts.append(draft := self._draft(opening, min(opening.slots, room), now))
                room -= 1 if draft.is_bundle else len(draft.rows)
        return _leased(drafts, now)

    def _draft(self, opening: SendSlot, most: int, now: datetime) -> _Draft:
        endpoint = opening.endpoint
        destination = self._destination(endpoint)
        is_bundle = endpoint.bundle_seconds > 0 and self._lane == Lane.REGULAR
        due = due_rows(endpoint, self._lane, now, LARGEST_BUNDLE if is_bundle else most, is_bundle=is_bundle)
        fresh = _without_expired(due, destination.max_age(endpoint), now)
        sent = min(len(fresh), 1) if is_bundle else len(fresh)
        paced = self._paced[endpoint.pk] = rate_limit.after(
            endpoint.paced_until, endpoint.rate_per_second, now, sent
        )
        ready = rate_limit.ready_at(paced, endpoint.rate_per_second, now)
        if ready > now and len(due) >= most:
            self.ready_again = min(self.ready_again, ready)
        return _Draft(destination, fresh, is_bundle)

    def _destination(self, endpoint: Waiting) -> Destination:
        revision, destination = self._known.get(endpoint.pk, (-1, None))
        if destination is None or revision != endpoint.revision:
            destination = Destination.of(WebhookEndpoint.objects.get(pk=endpoint.pk))
            self._known[endpoint.pk] = endpoint.revision, destination
        return destination


def _without_expired(due: list[Due], max_age: float | None, now: datetime) -> list[Due]:
    expired = {r.delivery for r in due if r.trigger != "manual" and is_expired(r.event_at, max_age, now)}
    if expired:
        WebhookDelivery.objects.filter(pk__in=expired).update(
            state=State.EXPIRED, finished_at=now, next_attempt_at=None, reason="the event is too old to be told"
        )
    return [row for row in due if row.delivery not in expired]


def _leased(drafts: list[_Draft], now: datetime) -> list[Batch]:
    """One statement for all endpoints that allow the same time, as most do."""
    batches: list[Batch] = []
    for timeout in {draft.destination.timeout for draft in drafts if draft.rows}:
        alike = [draft for draft in drafts if draft.destination.timeout == timeout and draft.rows]
        until = now + timedelta(seconds=timeout) + LEASE_MARGIN
        ours = _lease([row.delivery for draft in alike for row in draft.rows], until)
        for draft in alike:
            items = tuple(_item(row) for row in draft.rows if row.delivery in ours)
            groups = [items] if draft.is_bundle and items else [(item,) for item in items]
            batches += [Batch(draft.destination, group, until) for group in groups]
    return batches


def _lease(ids: list[str], until: datetime) -> set[str]:
    """Compare and set: only rows that nobody else holds become ours. Returns which."""
    if bulk_sql.execute(LEASE.format(**TABLES, ids=bulk_sql.placeholders(ids)), [until, until, *ids]) == len(ids):
        return set(ids)
    return set(WebhookDelivery.objects.filter(pk__in=ids, lease_until=until).values_list("pk", flat=True))


def _item(row: Due) -> Item:
    return Item(row.delivery, row.event, row.event_at, row.attempts + 1, row.tries + 1, row.trigger)


class Bodies:
    """Those made last: one event mostly goes to several endpoints, and to each as soon as it has room."""

    def __init__(self) -> None:
        self._made: dict[int, payload.Body] = {}

    def put_into(self, batches: list[Batch]) -> None:
        """A removed event takes its deliveries along, so what has no body any more is not sent."""
        wanted = {item.event for batch in batches for item in batch.items}
        if new := wanted - self._made.keys():
            if len(self._made) > MOST_BODIES:
                self._made = {event: body for event, body in self._made.items() if event in wanted}
            self._made |= payload.build(ProgramEvent.objects.filter(pk__in=new).select_related("program__host"))
        for batch in batches:
            batch.items = tuple(item for item in batch.items if item.event in self._made)
            batch.bodies = [self._made[item.event] for item in batch.items]
