"""Writes down what came of parcels: the attempts, the deliveries' next moment or end, the endpoints' health."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import structlog

from webhooks import rows, schedule, services
from webhooks.circuit import Health
from webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from webhooks.outcomes import Verdict

from .attempt import Outcome
from .parcels import LEASE_MARGIN, Item

log = structlog.get_logger(__name__)
State, Trigger = WebhookDelivery.State, WebhookDelivery.Trigger
SUCCESS_NOTED_EVERY = timedelta(seconds=30)
CRASHES = 3
LONGEST_REASON = 300
LOOKED_AT = (
    "name", "retry_schedule", "last_error", "enabled_at", "connect_failures", "paused_until", "failing_since",
    "failed_messages", "last_success_at",
)  # fmt: skip
ATTEMPT_COLUMNS = (
    "delivery_id", "number", "trigger", "started_at", "duration_ms", "status", "error_class", "error", "response",
    "peer",
)  # fmt: skip

Columns = dict[str, Any]


def record(outcomes: list[Outcome], now: datetime) -> None:
    """Call it inside `atomic()`. Endpoints and deliveries that were removed meanwhile are left out."""
    ids = [item.delivery for outcome in outcomes for item in outcome.parcel.items]
    endpoints = _endpoints(outcomes)
    found = _rows(ids)
    pairs = [(outcome, item) for outcome in outcomes for item in outcome.parcel.items if item.delivery in found]
    _note_attempts(pairs)
    delivered = [item.delivery for outcome, item in pairs if outcome.verdict is Verdict.DELIVERED]
    _finish_delivered(delivered, now)
    for outcome, item in pairs:
        if outcome.verdict is not Verdict.DELIVERED:
            _go_on(found[item.delivery], outcome, item, endpoints[outcome.parcel.destination.id], now)
    for pk, endpoint in endpoints.items():
        _note_health(endpoint, [o for o in outcomes if o.parcel.destination.id == pk], now)


def _endpoints(outcomes: Iterable[Outcome]) -> dict[int, WebhookEndpoint]:
    wanted = {outcome.parcel.destination.id for outcome in outcomes}
    found = WebhookEndpoint.objects.select_for_update().filter(pk__in=wanted).order_by("pk").only(*LOOKED_AT)
    return {row.pk: row for row in found}


def _rows(ids: list[str]) -> dict[str, Any]:
    found = WebhookDelivery.objects.select_for_update().filter(pk__in=ids)
    return {row.pk: row for row in found.values_list("pk", "state", "lease_until", named=True)}


def _note_attempts(pairs: Iterable[tuple[Outcome, Item]]) -> None:
    """A late answer replaces the note that the sender had been lost."""
    found = (_attempt(outcome, item) for outcome, item in pairs)
    rows.insert(WebhookAttempt, ATTEMPT_COLUMNS, found, replacing=("delivery_id", "number"))


def _attempt(o: Outcome, i: Item) -> tuple[Any, ...]:
    came = (o.started_at, o.duration_ms, o.status, o.error_class, o.error, o.response, o.peer)
    return (i.delivery, i.number, i.trigger, *came)


def _finish_delivered(ids: list[str], now: datetime) -> None:
    """Whatever somebody decided about them meanwhile: the receiver has them."""
    if ids:
        WebhookDelivery.objects.filter(pk__in=ids).update(
            state=State.DELIVERED, finished_at=now, next_attempt_at=None, lease_until=None, reason=""
        )


# --- What was not delivered -----------------------------------------------------------------------------


def _go_on(row: Any, outcome: Outcome, item: Item, endpoint: WebhookEndpoint, now: datetime) -> None:
    """Nothing to do when somebody else decided meanwhile, or another sender has taken the row over."""
    if row.lease_until != outcome.parcel.lease_until:
        return
    columns: Columns = {"lease_until": None}
    if row.state == State.PENDING:
        columns |= AFTER[outcome.verdict](outcome, item, endpoint, now)
    WebhookDelivery.objects.filter(pk=row.pk).update(**columns)


def _retry(outcome: Outcome, item: Item, endpoint: WebhookEndpoint, now: datetime) -> Columns:
    if item.trigger == Trigger.TEST:
        return _ended(State.FAILED, outcome, now)
    dice = random.Random(outcome.started_at.isoformat()).random()  # noqa: S311  (one throw for all of a bundle)
    gap = schedule.gap(endpoint.retry_schedule, item.tries, dice=dice, retry_after=outcome.wait)
    if gap is None:
        return _ended(State.EXHAUSTED, outcome, now)
    return {"next_attempt_at": now + timedelta(seconds=gap), "next_trigger": Trigger.RETRY, "reason": ""}


def _end_as(state: WebhookDelivery.State) -> Callable[[Outcome, Item, WebhookEndpoint, datetime], Columns]:
    return lambda outcome, item, endpoint, now: _ended(state, outcome, now)


def _ended(state: WebhookDelivery.State, outcome: Outcome, now: datetime) -> Columns:
    return {"state": state, "finished_at": now, "next_attempt_at": None, "reason": outcome.error[:LONGEST_REASON]}


AFTER: dict[Verdict, Callable[[Outcome, Item, WebhookEndpoint, datetime], Columns]] = {
    Verdict.RETRY: _retry,
    Verdict.THROTTLED: _retry,
    Verdict.GONE: _end_as(State.FAILED),
    Verdict.REFUSED: _end_as(State.FAILED),
    Verdict.BLOCKED: _end_as(State.BLOCKED),
}


# --- The endpoints --------------------------------------------------------------------------------------


def _note_health(endpoint: WebhookEndpoint, outcomes: list[Outcome], now: datetime) -> None:
    before = _health_of(endpoint)
    health = before
    for outcome in outcomes:
        health = _after(health, outcome, now)
    error = next((o.error for o in reversed(outcomes) if o.error), "") if outcomes[-1].error else ""
    if _is_news(before, health) or error != endpoint.last_error:
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(**vars(health), last_error=error)
    if any(outcome.verdict is Verdict.GONE for outcome in outcomes):
        services.switch_off(endpoint, reason="the receiver answered 410 Gone", cancel_pending=True)
    elif health.is_hopeless(now, endpoint.enabled_at):
        services.switch_off(endpoint, reason="nothing was delivered for 5 days", cancel_pending=False)


def _health_of(endpoint: WebhookEndpoint) -> Health:
    return Health(
        connect_failures=endpoint.connect_failures,
        paused_until=endpoint.paused_until,
        failing_since=endpoint.failing_since,
        failed_messages=endpoint.failed_messages,
        last_success_at=endpoint.last_success_at,
    )


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
    return health.failed(now, is_first_try=any(item.tries == 1 for item in outcome.parcel.items))


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
