"""Claims due deliveries by leasing them, and prepares them for sending.

A claim is committed before anything is sent. If the worker crashes, the lease expires and the delivery is
due again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from core import bulk_sql
from core.http import VERIFIED, Tls
from core.secrets import SecretUnreadableError
from programs.models import ProgramEvent
from webhooks import transports
from webhooks.delivery import rate_limit
from webhooks.delivery.retry_schedule import is_expired
from webhooks.delivery.send_slots import NEVER, QUEUE_FILTERS, TABLES, PendingEndpoint, SendQueue, SendSlot
from webhooks.models import CHAT_MAX_AGE_SECONDS, OldSecret, WebhookDelivery, WebhookEndpoint
from webhooks.outbox import payload
from webhooks.transports import UnknownKindError
from webhooks.transports.base import Transport

LEASE_MARGIN = timedelta(seconds=15)  # on top of the request's timeout: time to record the result
MAX_BUNDLE = 50
MAX_CACHED_PAYLOADS = 500
MIN_SECRET_LENGTH = 6  # masking every short word of a URL would make a response unreadable
State = WebhookDelivery.State
DUE = """
SELECT d.id, d.event_id, e.timestamp, COALESCE(d.age_from, e.timestamp), d.attempt_count, d.round_count,
    d.next_trigger
FROM {delivery} d JOIN {event} e ON e.id = d.event_id
WHERE d.endpoint_id = %s AND d.state = 'pending' AND d.{queue} AND {ready}
ORDER BY d.next_attempt_at, d.id LIMIT %s {lock}
"""
READY = "d.next_attempt_at <= %s"
# A bundle also takes what came after its first event, as long as it has not been attempted yet.
READY_FOR_BUNDLE = f"({READY} OR (d.round_count = 0 AND d.lease_until IS NULL AND d.next_attempt_at <= %s))"
# Compare and set: a row that another worker leased in the meantime stays theirs.
LEASE = """
UPDATE {delivery} SET lease_until = %s, next_attempt_at = %s, attempt_count = attempt_count + 1,
    round_count = round_count + 1
WHERE id IN ({ids}) AND state = 'pending' AND lease_until IS NULL
"""

GIVE_BACK = """
UPDATE {delivery} SET lease_until = NULL, next_attempt_at = %s, attempt_count = attempt_count - 1,
    round_count = round_count - 1
WHERE id IN ({ids})
"""


# --- Where to send --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Destination:
    """An endpoint with its secrets decrypted. `config_error`: why nothing can be sent there, or empty."""

    id: int
    name: str
    timeout: float = 15
    transport: Transport[Any] | None = None
    url: str = field(default="", repr=False)
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    secret: str = field(default="", repr=False)
    old_secrets: tuple[OldSecret, ...] = field(default=(), repr=False)
    tls: Tls = VERIFIED
    config_error: str = ""
    credentials: tuple[str, ...] = field(default=(), repr=False)  # to be masked in responses and errors

    @classmethod
    def from_endpoint(cls, endpoint: WebhookEndpoint) -> Destination:
        try:
            found = cls(
                id=endpoint.pk,
                name=endpoint.name,
                timeout=endpoint.timeout_seconds,
                transport=transports.get(endpoint.format),
                url=endpoint.url,
                settings=endpoint.settings,
                secret=endpoint.secret,
                old_secrets=tuple(endpoint.old_secrets),
                tls=Tls(endpoint.verify_tls, endpoint.ca_certificates),
            )
            return replace(found, credentials=_credentials(found))
        except (SecretUnreadableError, UnknownKindError) as error:
            return cls(id=endpoint.pk, name=endpoint.name, config_error=str(error))

    @property
    def is_chat(self) -> bool:
        return self.transport is not None and self.transport.is_chat

    def signing_secrets(self, now: datetime) -> list[str]:
        # For a while after a rotation receivers may still know an old secret.
        return [self.secret, *(old.secret for old in self.old_secrets if now < old.until)]

    def max_age(self, endpoint: PendingEndpoint) -> float | None:
        return endpoint.max_age_seconds or (CHAT_MAX_AGE_SECONDS if self.is_chat else None)


def _credentials(destination: Destination) -> tuple[str, ...]:
    parts = urlsplit(destination.url)
    old = [each.secret for each in destination.old_secrets]
    found = [destination.url, destination.secret, *old, parts.query, *parts.path.split("/")]
    if destination.transport is not None:
        found += destination.transport.secret_texts(destination.settings)
    return tuple(text for text in found if len(text) >= MIN_SECRET_LENGTH)


# --- What is due ----------------------------------------------------------------------------------------


class DueDelivery(NamedTuple):
    """A due row, not leased yet. `round_count`: attempts since its retry schedule started.

    `age_from`: when the event happened, or when a person asked to send it.
    """

    delivery_id: str
    event_id: int
    event_at: datetime
    age_from: datetime
    attempt_count: int
    round_count: int
    trigger: str


def due_deliveries(
    endpoint: PendingEndpoint, queue: str, now: datetime, limit: int, *, is_bundle: bool
) -> list[DueDelivery]:
    """Oldest first. On databases with row locks they are locked, and rows locked by others are skipped."""
    statement = DUE.format(
        delivery=TABLES["delivery"],
        event=ProgramEvent._meta.db_table,
        queue=QUEUE_FILTERS[SendQueue(queue)],
        ready=READY_FOR_BUNDLE if is_bundle else READY,
        lock=bulk_sql.lock_clause("FOR UPDATE OF d SKIP LOCKED"),
    )
    times = [now, now + timedelta(seconds=endpoint.bundle_seconds)] if is_bundle else [now]
    found = bulk_sql.fetch(statement, [endpoint.pk, *times, limit])
    return [
        DueDelivery(id_, event, bulk_sql.to_datetime(at), bulk_sql.to_datetime(age_from), *rest)
        for id_, event, at, age_from, *rest in found
    ]


# --- Claims ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClaimedDelivery:
    """A leased delivery. `number` and `round_number` include the attempt that is about to be made."""

    delivery_id: str
    event_id: int
    event_at: datetime
    number: int
    round_number: int
    trigger: str


@dataclass
class DeliveryBatch:
    """What goes out as one request: one delivery, or several bundled."""

    destination: Destination
    items: tuple[ClaimedDelivery, ...]
    lease_until: datetime
    bodies: list[payload.Body] = field(default_factory=list)

    @property
    def message(self) -> tuple[int, tuple[str, ...]]:
        return self.destination.id, tuple(item.delivery_id for item in self.items)


@dataclass(frozen=True)
class _Selection:
    """Rows chosen for one endpoint, not leased yet."""

    destination: Destination
    rows: list[DueDelivery]
    is_bundle: bool


class Claimer:
    """Claims for all endpoints of a queue in turn, so that a busy endpoint does not always come first."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._turn = 0
        self._destinations: dict[int, tuple[int, Destination]] = {}  # by endpoint id, with its revision
        self._paced_until: dict[int, datetime] = {}
        self.next_ready_at = NEVER  # when the rate limit of a just claimed endpoint allows more

    def apply_pacing(self, endpoints: Iterable[PendingEndpoint]) -> None:
        # The column is only written when the worker stops, so count what this worker has sent.
        for endpoint in endpoints:
            if (ours := self._paced_until.get(endpoint.pk)) is not None:
                endpoint.paced_until = max(ours, endpoint.paced_until or ours)

    def save_pacing(self, now: datetime) -> None:
        for pk, until in self._paced_until.items():
            if until > now:
                WebhookEndpoint.objects.filter(pk=pk).update(paced_until=until)

    def claim(self, slots: Iterable[SendSlot], limit: int, now: datetime) -> list[DeliveryBatch]:
        """Leases at most `limit` messages. Call it inside `atomic()`, and send only after the commit."""
        open_slots = [slot for slot in slots if slot.at <= now and slot.slots > 0]
        self._turn += 1
        self.next_ready_at = NEVER
        start = self._turn % len(open_slots) if open_slots else 0
        selections: list[_Selection] = []
        for slot in open_slots[start:] + open_slots[:start]:
            if limit > 0:
                selections.append(chosen := self._select(slot, min(slot.slots, limit), now))
                limit -= 1 if chosen.is_bundle else len(chosen.rows)
        return _lease_all(selections, now)

    def _select(self, slot: SendSlot, limit: int, now: datetime) -> _Selection:
        endpoint = slot.endpoint
        destination = self._destination(endpoint)
        # Suspects are never bundled: after another crash it must be clear which delivery caused it.
        # Other formats cannot be bundled: an endpoint may be older than the check that refuses it.
        is_bundle = endpoint.bundle_seconds > 0 and destination.is_chat and self._queue == SendQueue.REGULAR
        due = due_deliveries(endpoint, self._queue, now, MAX_BUNDLE if is_bundle else limit, is_bundle=is_bundle)
        rows = _drop_expired(due, destination.max_age(endpoint), now)
        # A bundle is one request, so it counts once for the rate limit.
        sent = min(len(rows), 1) if is_bundle else len(rows)
        rate = endpoint.rate_per_second
        paced = self._paced_until[endpoint.pk] = rate_limit.consume(endpoint.paced_until, rate, now, sent)
        ready = rate_limit.ready_at(paced, rate, now)
        # More may be due, but the rate limit is used up: claim again when it allows more.
        if ready > now and len(due) >= limit:
            self.next_ready_at = min(self.next_ready_at, ready)
        return _Selection(destination, rows, is_bundle)

    def _destination(self, endpoint: PendingEndpoint) -> Destination:
        revision, destination = self._destinations.get(endpoint.pk, (-1, None))
        # Every change of an endpoint gives it a new revision.
        if destination is None or revision != endpoint.revision:
            destination = Destination.from_endpoint(WebhookEndpoint.objects.get(pk=endpoint.pk))
            self._destinations[endpoint.pk] = endpoint.revision, destination
        return destination


def _drop_expired(due: list[DueDelivery], max_age: float | None, now: datetime) -> list[DueDelivery]:
    # What a person sends again is sent once in any case: thousands may have to wait for the rate limit.
    expired = {r.delivery_id for r in due if r.trigger != "manual" and is_expired(r.age_from, max_age, now)}
    if expired:
        WebhookDelivery.objects.filter(pk__in=expired).update(
            # Not an attempt: nothing was sent.
            state=State.EXPIRED,
            finished_at=now,
            next_attempt_at=None,
            reason="the event is too old to be sent",
        )
    return [row for row in due if row.delivery_id not in expired]


def _lease_all(selections: list[_Selection], now: datetime) -> list[DeliveryBatch]:
    # Most endpoints share the default timeout, so this is mostly a single statement.
    batches: list[DeliveryBatch] = []
    for timeout in {chosen.destination.timeout for chosen in selections if chosen.rows}:
        alike = [chosen for chosen in selections if chosen.destination.timeout == timeout and chosen.rows]
        until = now + timedelta(seconds=timeout) + LEASE_MARGIN
        leased = _lease([row.delivery_id for chosen in alike for row in chosen.rows], until)
        for chosen in alike:
            items = tuple(_claimed(row) for row in chosen.rows if row.delivery_id in leased)
            groups = [items] if chosen.is_bundle and items else [(item,) for item in items]
            batches += [DeliveryBatch(chosen.destination, group, until) for group in groups]
    return batches


def _lease(ids: list[str], until: datetime) -> set[str]:
    if bulk_sql.execute(LEASE.format(**TABLES, ids=bulk_sql.placeholders(ids)), [until, until, *ids]) == len(ids):
        return set(ids)
    return set(WebhookDelivery.objects.filter(pk__in=ids, lease_until=until).values_list("pk", flat=True))


def _claimed(row: DueDelivery) -> ClaimedDelivery:
    return ClaimedDelivery(
        row.delivery_id, row.event_id, row.event_at, row.attempt_count + 1, row.round_count + 1, row.trigger
    )


class PayloadCache:
    """The latest payloads: one event mostly goes to several endpoints, at slightly different times."""

    def __init__(self) -> None:
        self._bodies: dict[int, payload.Body] = {}

    def attach_bodies(self, batches: list[DeliveryBatch]) -> None:
        # Deleting an event deletes its deliveries: skip those without a payload.
        wanted = {item.event_id for batch in batches for item in batch.items}
        if new := wanted - self._bodies.keys():
            if len(self._bodies) > MAX_CACHED_PAYLOADS:
                self._bodies = {event: body for event, body in self._bodies.items() if event in wanted}
            self._bodies |= payload.build(ProgramEvent.objects.filter(pk__in=new).select_related("program__host"))
        for batch in batches:
            batch.items = tuple(item for item in batch.items if item.event_id in self._bodies)
            batch.bodies = [self._bodies[item.event_id] for item in batch.items]


def split_bundles(batches: list[DeliveryBatch], now: datetime) -> None:
    """Leaves in each bundle what one message can show, and makes the rest due again for the next one.

    Call it in the transaction of the claim.
    """
    surplus: list[str] = []
    for batch in batches:
        if batch.destination.transport is not None and len(batch.bodies) > 1:
            count = batch.destination.transport.count_fitting(batch.bodies)
            surplus += [item.delivery_id for item in batch.items[count:]]
            batch.items, batch.bodies = batch.items[:count], batch.bodies[:count]
    if surplus:
        bulk_sql.execute(GIVE_BACK.format(**TABLES, ids=bulk_sql.placeholders(surplus)), [now, *surplus])
