"""Writes the deliveries of an event, in the transaction that writes the event (transactional outbox).

Subscriptions are kept in memory. Each transaction checks once whether they are up to date, so hundreds of events
in one transaction cost no further queries. A change of an endpoint first advances the sequence that every event
advances too (see `services`): no event can be written in between with the old subscriptions.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Max, Q, Sum
from django.utils import timezone

from core import bulk_sql
from core.doorbell import ring
from programs import events
from programs.models import ProgramEvent
from webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookMute, message_id

from . import lasting
from .matching import MatchableEvent, MuteRule, Subscription, active_mute, matches

WAKEUP_CHANNEL = "outbox"
State, Trigger = WebhookDelivery.State, WebhookDelivery.Trigger
Version = tuple[int, int, int]
COLUMNS = (
    "id", "endpoint_id", "event_id", "state", "reason", "created_at", "finished_at", "next_attempt_at",
    "next_trigger", "attempt_count", "round_count", "crash_count", "withheld",
)  # fmt: skip
MAX_EVENT_DELAY = timedelta(days=1)  # the agent writes late what happened while the database was unavailable
NOT_LOADED: tuple[Version, tuple[Subscription, ...]] = ((-1, -1, -1), ())

_subscriptions = NOT_LOADED  # the committed state, shared by all threads


class _Routes:
    """Subscriptions and mutes as one transaction sees them.

    Kept among the transaction's on-commit callbacks: it disappears with the transaction, however that ends. On
    commit it wakes up the pump once for all deliveries written.
    """

    def __init__(self, *, is_changed: bool) -> None:
        """`is_changed`: by this transaction, so other threads must not see it before the commit."""
        self.has_deliveries = False
        self.subscriptions = _load_subscriptions() if is_changed else _current_subscriptions()
        # Without endpoints the mutes do not matter: this saves a query.
        self.mutes = _load_mutes() if self.subscriptions else ()

    def __call__(self) -> None:
        if self.has_deliveries:
            ring(WAKEUP_CHANNEL)


def write_deliveries(*, event: ProgramEvent, **kwargs: Any) -> None:
    """Receiver of `event_recorded`: writes a row for each endpoint whose subscription matches."""
    routes = _routes()
    if not routes.subscriptions:
        return
    matchable = matchable_event(event)
    rows = [_row(each, event, routes.mutes) for each in routes.subscriptions if matches(each, matchable)]
    if rows:
        # Raw SQL: this runs with every event, in the transaction of the agent.
        bulk_sql.insert(WebhookDelivery, COLUMNS, rows)
        routes.has_deliveries = True


def invalidate_routes() -> None:
    """Call it after changing endpoints or mutes: later events of this transaction must see the change."""
    transaction.on_commit(_Routes(is_changed=True))


def _routes() -> _Routes:
    # The newest of this transaction. Django drops those of savepoints that were rolled back.
    # A local cache would outlive a rollback.
    for _, callback, *_ in reversed(connection.run_on_commit):
        if isinstance(callback, _Routes):
            return callback
    routes = _Routes(is_changed=False)
    transaction.on_commit(routes)
    return routes


def matchable_event(event: ProgramEvent) -> MatchableEvent:
    tags = frozenset(event.program.tags) if event.program else frozenset()
    return MatchableEvent(event.type, events.weight(event), event.program_id, tags, lambda: events.as_json(event))


def _row(subscription: Subscription, event: ProgramEvent, mutes: tuple[MuteRule, ...]) -> tuple[Any, ...]:
    now, withheld = timezone.now(), None
    begin_was_withheld = lasting.drop_withheld_begin(event, subscription.id)
    if mute := active_mute(mutes, subscription.id, event.program_id, event.timestamp):
        reason = f"muted: {mute.reason}" if mute.reason else "muted"
        state: tuple[Any, ...] = (State.CANCELLED, reason, now, now, None)
        withheld = None if begin_was_withheld else lasting.withhold(event, subscription.id)
    elif begin_was_withheld:
        state = (State.CANCELLED, "its beginning was muted", now, now, None)
    else:
        # Due only after the bundle time, so that later events can join.
        state = (State.PENDING, "", now, None, now + subscription.bundle)
    return (message_id(), subscription.id, event.pk, *state, Trigger.EVENT, 0, 0, 0, withheld)


def release_withheld(now: datetime) -> int:
    """After the end of a mute: makes what it withheld due if it still holds; returns how many deliveries."""
    found = WebhookDelivery.objects.filter(withheld__isnull=False).select_related("event", "endpoint")
    mutes = _load_mutes() if found else ()
    released = 0
    for row in found:
        if active_mute(mutes, row.endpoint_id, row.event.program_id, now):
            continue
        # Conditional: its end may be written, or a person may send it, at the same time.
        mine = WebhookDelivery.objects.filter(pk=row.pk, withheld=row.withheld)
        if row.endpoint.enabled and not lasting.is_over(row.event):
            due = {"state": State.PENDING, "reason": "", "finished_at": None, "next_attempt_at": now}
            released += mine.update(withheld=None, age_from=now, **due)
        else:
            mine.update(withheld=None)
    return released


def _current_subscriptions() -> tuple[Subscription, ...]:
    global _subscriptions
    # Every change gives an endpoint a higher revision; a removal changes count and sum.
    found = WebhookEndpoint.objects.aggregate(count=Count("pk"), keys=Sum("pk"), newest=Max("revision"))
    version = (found["count"], found["keys"] or 0, found["newest"] or 0)
    if _subscriptions[0] != version:
        _subscriptions = (version, _load_subscriptions())
    return _subscriptions[1]


def _load_subscriptions() -> tuple[Subscription, ...]:
    return tuple(map(subscription_of, WebhookEndpoint.objects.filter(enabled=True).order_by("pk")))


def subscription_of(endpoint: WebhookEndpoint) -> Subscription:
    return Subscription(
        id=endpoint.pk,
        patterns=tuple(endpoint.events),
        programs=frozenset(endpoint.programs),
        tags=frozenset(endpoint.tags),
        min_severity=endpoint.min_severity,
        conditions=endpoint.conditions or None,
        bundle=timedelta(seconds=endpoint.bundle_seconds),
    )


def _load_mutes() -> tuple[MuteRule, ...]:
    current = WebhookMute.objects.filter(Q(ends_at=None) | Q(ends_at__gt=timezone.now() - MAX_EVENT_DELAY))
    return tuple(map(mute_rule, current))


def mute_rule(row: WebhookMute) -> MuteRule:
    return MuteRule(
        endpoint=row.endpoint_id,
        program=row.program_id,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        cron=row.cron,
        cron_length=timedelta(seconds=row.cron_seconds),
        reason=row.reason,
    )
