"""Writes down what came of parcels: the attempts, the deliveries' next moment or end, the endpoints' health."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import structlog

from core import bulk_sql
from webhooks import services
from webhooks.delivery import schedule
from webhooks.delivery.circuit import Health
from webhooks.delivery.response_policy import Verdict
from webhooks.delivery.send_slots import TABLES
from webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint

from .attempt import Outcome
from .claims import LEASE_MARGIN, Item

log = structlog.get_logger(__name__)
State, Trigger = WebhookDelivery.State, WebhookDelivery.Trigger
SUCCESS_NOTED_EVERY = timedelta(seconds=30)
CRASHES = 3
LONGEST_REASON = 300
ATTEMPT_COLUMNS = (
    "delivery_id", "number", "trigger", "started_at", "duration_ms", "status", "error_class", "error", "response",
    "peer",
)  # fmt: skip

ENDPOINTS = """
SELECT id, last_error, retry_schedule, enabled_at, connect_failures, paused_until, failing_since, failed_messages,
    last_success_at
FROM {endpoint} WHERE id IN ({ids}) ORDER BY id {lock}
"""
DELIVERIES = "SELECT id, state, lease_until FROM {delivery} WHERE id IN ({ids}) ORDER BY id {lock}"
DELIVERED = """
UPDATE {delivery} SET state = 'delivered', finished_at = %s, next_attempt_at = NULL, lease_until = NULL,
    reason = ''
WHERE id IN ({ids})
"""

Columns = dict[str, Any]


class Row(NamedTuple):
    """What became of a delivery while it was sent."""

    pk: str
    state: str
    lease_until: datetime | None


@dataclass(frozen=True)
class Noted:
    """What its row says of an endpoint. `schedule` is JSON: only failures read it."""

    pk: int
    last_error: str
    schedule: str
    enabled_at: datetime
    health: Health

    @classmethod
    def of(cls, pk: int, error: str, schedule: str, *health: Any) -> Noted:
        enabled, failures, paused, failing, failed, success = health
        paused, failing, success = map(bulk_sql.to_datetime_or_none, (paused, failing, success))
        return cls(
            pk, error, schedule, bulk_sql.to_datetime(enabled), Health(failures, paused, failing, failed, success)
        )


def record(outcomes: list[Outcome], now: datetime) -> None:
    """Call it inside `atomic()`. Endpoints and deliveries that were removed meanwhile are left out."""
    endpoints = _endpoints({outcome.batch.destination.id for outcome in outcomes})
    pairs = [(outcome, item) for outcome in outcomes for item in outcome.batch.items]
    found = _rows([item.delivery for _, item in pairs])
    pairs = [(outcome, item) for outcome, item in pairs if item.delivery in found]
    _note_attempts(pairs)
    _finish_delivered([item.delivery for outcome, item in pairs if outcome.verdict is Verdict.DELIVERED], now)
    for outcome, item in pairs:
        if outcome.verdict is not Verdict.DELIVERED:
            _go_on(found[item.delivery], outcome, item, endpoints[outcome.batch.destination.id], now)
    by_endpoint = defaultdict(list)
    for outcome in outcomes:
        by_endpoint[outcome.batch.destination.id].append(outcome)
    for endpoint in endpoints.values():
        _note_health(endpoint, by_endpoint[endpoint.pk], now)


def _endpoints(ids: set[int]) -> dict[int, Noted]:
    statement = ENDPOINTS.format(
        **TABLES, ids=bulk_sql.placeholders([*ids]), lock=bulk_sql.lock_clause("FOR UPDATE")
    )
    found = (Noted.of(*row) for row in bulk_sql.fetch(statement, ids))
    return {row.pk: row for row in found}


def _rows(ids: list[str]) -> dict[str, Row]:
    statement = DELIVERIES.format(
        **TABLES, ids=bulk_sql.placeholders(ids), lock=bulk_sql.lock_clause("FOR UPDATE")
    )
    return {
        id_: Row(id_, state, bulk_sql.to_datetime_or_none(lease))
        for id_, state, lease in bulk_sql.fetch(statement, ids)
    }


def _note_attempts(pairs: Iterable[tuple[Outcome, Item]]) -> None:
    """A late answer replaces the note that the sender had been lost."""
    found = [_attempt(outcome, item) for outcome, item in pairs]
    bulk_sql.upsert(WebhookAttempt, ATTEMPT_COLUMNS, found, key=("delivery_id", "number"))


def _attempt(o: Outcome, i: Item) -> tuple[Any, ...]:
    came = (o.started_at, o.duration_ms, o.status, o.error_class, o.error, o.response, o.peer)
    return (i.delivery, i.number, i.trigger, *came)


def _finish_delivered(ids: list[str], now: datetime) -> None:
    """Whatever somebody decided about them meanwhile: the receiver has them."""
    if ids:
        bulk_sql.execute(DELIVERED.format(**TABLES, ids=bulk_sql.placeholders(ids)), [now, *ids])


# --- What was not delivered -----------------------------------------------------------------------------


def _go_on(row: Row, outcome: Outcome, item: Item, endpoint: Noted, now: datetime) -> None:
    """Nothing to do when somebody else decided meanwhile, or another sender has taken the row over."""
    if row.lease_until != outcome.batch.lease_until:
        return
    columns: Columns = {"lease_until": None}
    if row.state == State.PENDING:
        columns |= AFTER[outcome.verdict](outcome, item, endpoint, now)
    WebhookDelivery.objects.filter(pk=row.pk).update(**columns)


def _retry(outcome: Outcome, item: Item, endpoint: Noted, now: datetime) -> Columns:
    if item.trigger == Trigger.TEST:
        return _ended(State.FAILED, outcome, now)
    dice = random.Random(outcome.started_at.isoformat()).random()  # noqa: S311  (one throw for all of a bundle)
    gap = schedule.gap(json.loads(endpoint.schedule), item.tries, dice=dice, retry_after=outcome.wait)
    if gap is None:
        return _ended(State.EXHAUSTED, outcome, now)
    return {"next_attempt_at": now + timedelta(seconds=gap), "next_trigger": Trigger.RETRY, "reason": ""}


def _end_as(state: WebhookDelivery.State) -> Callable[[Outcome, Item, Noted, datetime], Columns]:
    return lambda outcome, item, endpoint, now: _ended(state, outcome, now)


def _ended(state: WebhookDelivery.State, outcome: Outcome, now: datetime) -> Columns:
    return {"state": state, "finished_at": now, "next_attempt_at": None, "reason": outcome.error[:LONGEST_REASON]}


AFTER: dict[Verdict, Callable[[Outcome, Item, Noted, datetime], Columns]] = {
    Verdict.RETRY: _retry,
    Verdict.THROTTLED: _retry,
    Verdict.GONE: _end_as(State.FAILED),
    Verdict.REFUSED: _end_as(State.FAILED),
    Verdict.BLOCKED: _end_as(State.BLOCKED),
}


# --- The endpoints --------------------------------------------------------------------------------------


def _note_health(endpoint: Noted, outcomes: list[Outcome], now: datetime) -> None:
    health = endpoint.health
    for outcome in outcomes:
        health = _after(health, outcome, now)
    error = next((o.error for o in reversed(outcomes) if o.error), "") if outcomes[-1].error else ""
    if _is_news(endpoint.health, health) or error != endpoint.last_error:
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(**vars(health), last_error=error)
    if any(outcome.verdict is Verdict.GONE for outcome in outcomes):
        _switch_off(endpoint, "the receiver answered 410 Gone", cancel_pending=True)
    elif health.is_hopeless(now, endpoint.enabled_at):
        _switch_off(endpoint, "nothing was delivered for 5 days", cancel_pending=False)


def _switch_off(endpoint: Noted, reason: str, *, cancel_pending: bool) -> None:
    row = WebhookEndpoint.objects.get(pk=endpoint.pk)
    services.switch_off(row, reason=reason, cancel_pending=cancel_pending)


def _is_news(before: Health, after: Health) -> bool:
    """A steady flow of successes is noted now and then only."""
    if vars(before) | {"last_success_at": None} != vars(after) | {"last_success_at": None}:
        return True
    noted = before.last_success_at
    return after.last_success_at is not None and (
        noted is None or after.last_success_at - noted > SUCCESS_NOTED_EVERY
    )


def _after(health: Health, outcome: Outcome, now: datetime) -> Health:
    if outcome.verdict is Verdict.DELIVERED:
        return health.succeeded(now)
    if outcome.reached is None:
        return health
    health = health.answered() if outcome.reached else health.not_reached(now)
    if outcome.verdict is Verdict.THROTTLED and outcome.wait:
        health = health.throttled(now + timedelta(seconds=outcome.wait))
    return health.failed(now, is_first_try=any(item.tries == 1 for item in outcome.batch.items))


# --- Senders that were lost -----------------------------------------------------------------------------


def reap(now: datetime, ours: Iterable[str]) -> None:
    """Frees what a dead sender held. What took part in three deaths, in the last two alone, is not sent again."""
    lost = WebhookDelivery.objects.select_for_update(of=("self",)).filter(
        lease_until__isnull=False, lease_until__lte=now
    )
    for row in lost.exclude(pk__in=ours).select_related("endpoint"):
        crashes = row.crash_count + 1
        columns: Columns = {"lease_until": None, "crash_count": crashes}
        if row.state == State.PENDING:
            WebhookAttempt.objects.get_or_create(
                delivery=row, number=row.attempt_count, defaults=_lost_attempt(row)
            )
            columns |= {"next_attempt_at": now} if crashes < CRASHES else _dead(now)
        WebhookDelivery.objects.filter(pk=row.pk).update(**columns)
        log.warning("webhook.sender_lost", delivery=row.pk, crashes=crashes)


def _lost_attempt(row: WebhookDelivery) -> Columns:
    lease = timedelta(seconds=row.endpoint.timeout_seconds) + LEASE_MARGIN
    return {
        "trigger": row.next_trigger,
        "started_at": row.next_attempt_at - lease if row.next_attempt_at else row.created_at,
        "error_class": "lost",
        "error": "the sender ended before it could note an answer; the receiver may have got it",
    }


def _dead(now: datetime) -> Columns:
    reason = f"its sender ended {CRASHES} times while sending it"
    return {"state": State.DEAD, "finished_at": now, "next_attempt_at": None, "reason": reason}
