"""Records attempts: the attempt itself, the delivery's next attempt or final state, and the endpoint's health."""

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
from webhooks.delivery import retry_schedule
from webhooks.delivery.circuit import CircuitState
from webhooks.delivery.response_policy import DeliveryVerdict
from webhooks.delivery.send_slots import TABLES
from webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint

from .attempt import AttemptOutcome
from .claims import LEASE_MARGIN, ClaimedDelivery

log = structlog.get_logger(__name__)
State, Trigger = WebhookDelivery.State, WebhookDelivery.Trigger
SUCCESS_SAVE_INTERVAL = timedelta(seconds=30)
MAX_CRASHES = 3
MAX_REASON_LENGTH = 300
ATTEMPT_COLUMNS = (
    "delivery_id", "number", "trigger", "started_at", "duration_ms", "status", "error_class", "error", "response",
    "peer",
)  # fmt: skip

# ORDER BY id: two workers that lock the same rows must lock them in the same order.
ENDPOINTS = """
SELECT id, last_error, retry_schedule, enabled_at, connect_failures, paused_until, failing_since, failed_messages,
    last_success_at
FROM {endpoint} WHERE id IN ({ids}) ORDER BY id {lock}
"""
DELIVERIES = "SELECT id, state, lease_until, round_count FROM {delivery} WHERE id IN ({ids}) ORDER BY id {lock}"
DELIVERED = """
UPDATE {delivery} SET state = 'delivered', finished_at = %s, next_attempt_at = NULL, lease_until = NULL,
    reason = ''
WHERE id IN ({ids})
"""

Columns = dict[str, Any]


class StoredDelivery(NamedTuple):
    """A delivery's row as it is after the attempt: people may have cancelled it in the meantime."""

    pk: str
    state: str
    lease_until: datetime | None
    round_count: int


@dataclass(frozen=True)
class StoredEndpoint:
    """`schedule` is still JSON: only failures need it parsed."""

    pk: int
    last_error: str
    schedule: str
    enabled_at: datetime
    circuit: CircuitState

    @classmethod
    def from_row(cls, pk: int, error: str, schedule: str, enabled_at: Any, *columns: Any) -> StoredEndpoint:
        failures, paused, failing, failed, success = columns
        paused, failing, success = map(bulk_sql.to_datetime_or_none, (paused, failing, success))
        circuit = CircuitState(failures, paused, failing, failed, success)
        return cls(pk, error, schedule, bulk_sql.to_datetime(enabled_at), circuit)


def record(outcomes: list[AttemptOutcome], now: datetime) -> None:
    """Call it inside `atomic()`. Skips endpoints and deliveries that were removed in the meantime."""
    endpoints = _endpoints({outcome.batch.destination.id for outcome in outcomes})
    pairs = [(outcome, item) for outcome in outcomes for item in outcome.batch.items]
    found = _deliveries([item.delivery_id for _, item in pairs])
    pairs = [(outcome, item) for outcome, item in pairs if item.delivery_id in found]
    _save_attempts(pairs)
    delivered = [item.delivery_id for outcome, item in pairs if outcome.verdict is DeliveryVerdict.DELIVERED]
    _save_delivered(delivered, now)
    for outcome, item in pairs:
        if outcome.verdict is not DeliveryVerdict.DELIVERED:
            endpoint = endpoints[outcome.batch.destination.id]
            _save_undelivered(found[item.delivery_id], outcome, item, endpoint, now)
    by_endpoint = defaultdict(list)
    for outcome in outcomes:
        by_endpoint[outcome.batch.destination.id].append(outcome)
    for endpoint in endpoints.values():
        _update_health(endpoint, by_endpoint[endpoint.pk], now)


def _endpoints(ids: set[int]) -> dict[int, StoredEndpoint]:
    lock = bulk_sql.lock_clause("FOR UPDATE")
    statement = ENDPOINTS.format(**TABLES, ids=bulk_sql.placeholders([*ids]), lock=lock)
    found = (StoredEndpoint.from_row(*row) for row in bulk_sql.fetch(statement, ids))
    return {row.pk: row for row in found}


def _deliveries(ids: list[str]) -> dict[str, StoredDelivery]:
    lock = bulk_sql.lock_clause("FOR UPDATE")
    statement = DELIVERIES.format(**TABLES, ids=bulk_sql.placeholders(ids), lock=lock)
    return {
        id_: StoredDelivery(id_, state, bulk_sql.to_datetime_or_none(lease), round_count)
        for id_, state, lease, round_count in bulk_sql.fetch(statement, ids)
    }


def _save_attempts(pairs: Iterable[tuple[AttemptOutcome, ClaimedDelivery]]) -> None:
    rows = [_attempt_row(outcome, item) for outcome, item in pairs]
    # Upsert: a late response replaces the entry that the worker was lost.
    bulk_sql.upsert(WebhookAttempt, ATTEMPT_COLUMNS, rows, key=("delivery_id", "number"))


def _attempt_row(o: AttemptOutcome, i: ClaimedDelivery) -> tuple[Any, ...]:
    values = (o.started_at, o.duration_ms, o.status, o.error_class, o.error, o.response, o.peer)
    return (i.delivery_id, i.number, i.trigger, *values)


def _save_delivered(ids: list[str], now: datetime) -> None:
    # Whatever was decided about them in the meantime: the receiver has them.
    if ids:
        bulk_sql.execute(DELIVERED.format(**TABLES, ids=bulk_sql.placeholders(ids)), [now, *ids])


# --- Undelivered ----------------------------------------------------------------------------------------


def _save_undelivered(
    row: StoredDelivery, outcome: AttemptOutcome, item: ClaimedDelivery, endpoint: StoredEndpoint, now: datetime
) -> None:
    if row.lease_until != outcome.batch.lease_until:  # leased by another worker
        return
    columns: Columns = {"lease_until": None}
    if row.state == State.PENDING:
        # A person who sent it again during the attempt began a new round.
        if row.round_count != item.round_number:
            columns |= {"next_attempt_at": now}
        else:
            columns |= NEXT_STATE[outcome.verdict](outcome, item, endpoint, now)
    WebhookDelivery.objects.filter(pk=row.pk).update(**columns)


def _schedule_retry(
    outcome: AttemptOutcome, item: ClaimedDelivery, endpoint: StoredEndpoint, now: datetime
) -> Columns:
    # A test is a single attempt: its sender is waiting for the result.
    if item.trigger == Trigger.TEST:
        return _finished(State.FAILED, outcome, now)
    # Seeded with the attempt's start: all deliveries of a bundle are retried at the same time.
    jitter = random.Random(outcome.started_at.isoformat()).random()  # noqa: S311
    delay = retry_schedule.retry_delay(
        json.loads(endpoint.schedule), item.round_number, jitter=jitter, retry_after=outcome.retry_after
    )
    if delay is None:
        return _finished(State.EXHAUSTED, outcome, now)
    return {"next_attempt_at": now + timedelta(seconds=delay), "next_trigger": Trigger.RETRY, "reason": ""}


NextState = Callable[[AttemptOutcome, ClaimedDelivery, StoredEndpoint, datetime], Columns]


def _finish_as(state: WebhookDelivery.State) -> NextState:
    return lambda outcome, item, endpoint, now: _finished(state, outcome, now)


def _finished(state: WebhookDelivery.State, outcome: AttemptOutcome, now: datetime) -> Columns:
    reason = outcome.error[:MAX_REASON_LENGTH]
    return {"state": state, "finished_at": now, "next_attempt_at": None, "reason": reason}


NEXT_STATE: dict[DeliveryVerdict, NextState] = {
    DeliveryVerdict.RETRY: _schedule_retry,
    DeliveryVerdict.THROTTLED: _schedule_retry,
    DeliveryVerdict.GONE: _finish_as(State.FAILED),
    DeliveryVerdict.REFUSED: _finish_as(State.FAILED),
    DeliveryVerdict.BLOCKED: _finish_as(State.BLOCKED),
}


# --- Health of the endpoints ----------------------------------------------------------------------------


def _update_health(endpoint: StoredEndpoint, outcomes: list[AttemptOutcome], now: datetime) -> None:
    circuit = endpoint.circuit
    for outcome in outcomes:
        circuit = _next_circuit(circuit, outcome, now)
    # After a success as the last outcome there is no error to show.
    error = next((o.error for o in reversed(outcomes) if o.error), "") if outcomes[-1].error else ""
    if _must_save(endpoint.circuit, circuit) or error != endpoint.last_error:
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(**vars(circuit), last_error=error)
    # Disabled within the same transaction, so that nothing more is claimed for it.
    if any(outcome.verdict is DeliveryVerdict.GONE for outcome in outcomes):
        _disable(endpoint, "the receiver answered 410 Gone", cancel_pending=True)
    elif circuit.should_disable(now, endpoint.enabled_at):
        _disable(endpoint, "nothing was delivered for 5 days", cancel_pending=False)


def _disable(endpoint: StoredEndpoint, reason: str, *, cancel_pending: bool) -> None:
    row = WebhookEndpoint.objects.get(pk=endpoint.pk)
    services.disable_endpoint(row, reason=reason, cancel_pending=cancel_pending)


def _must_save(before: CircuitState, after: CircuitState) -> bool:
    if vars(before) | {"last_success_at": None} != vars(after) | {"last_success_at": None}:
        return True
    saved = before.last_success_at
    # A steady flow of successes is saved now and then only: the row would be written with every batch.
    return after.last_success_at is not None and (
        saved is None or after.last_success_at - saved > SUCCESS_SAVE_INTERVAL
    )


def _next_circuit(circuit: CircuitState, outcome: AttemptOutcome, now: datetime) -> CircuitState:
    if outcome.verdict is DeliveryVerdict.DELIVERED:
        return circuit.succeeded(now)
    if outcome.is_connected is None:
        return circuit
    circuit = circuit.responded() if outcome.is_connected else circuit.connect_failed(now)
    if outcome.verdict is DeliveryVerdict.THROTTLED and outcome.retry_after:
        circuit = circuit.throttled(now + timedelta(seconds=outcome.retry_after))
    return circuit.failed(now, is_first_attempt=any(item.round_number == 1 for item in outcome.batch.items))


# --- Crashed workers ------------------------------------------------------------------------------------


def release_expired_leases(now: datetime, ours: Iterable[str]) -> None:
    """Makes deliveries of crashed workers due again. A delivery involved in three crashes is given up as dead."""
    lost = WebhookDelivery.objects.select_for_update(of=("self",)).filter(
        lease_until__isnull=False, lease_until__lte=now
    )
    # Own requests are excluded: a busy event loop can make them outlast their lease.
    for row in lost.exclude(pk__in=ours).select_related("endpoint"):
        crashes = row.crash_count + 1
        columns: Columns = {"lease_until": None, "crash_count": crashes}
        if row.state == State.PENDING:
            # May exist: a late result is recorded even after the lease was lost.
            WebhookAttempt.objects.get_or_create(
                delivery=row, number=row.attempt_count, defaults=_lost_attempt(row)
            )
            columns |= {"next_attempt_at": now} if crashes < MAX_CRASHES else _dead(now)
        WebhookDelivery.objects.filter(pk=row.pk).update(**columns)
        log.warning("webhook.worker_lost", delivery=row.pk, crashes=crashes)


def _lost_attempt(row: WebhookDelivery) -> Columns:
    lease = timedelta(seconds=row.endpoint.timeout_seconds) + LEASE_MARGIN
    return {
        "trigger": row.next_trigger,
        "started_at": row.next_attempt_at - lease if row.next_attempt_at else row.created_at,
        "error_class": "lost",
        "error": "the worker stopped before it recorded a response; the receiver may have received it",
    }


def _dead(now: datetime) -> Columns:
    reason = f"its worker crashed {MAX_CRASHES} times while sending it"
    return {"state": State.DEAD, "finished_at": now, "next_attempt_at": None, "reason": reason}
