"""Queues deliveries by hand: tests, redelivery, recovery of failed ones, replay of missing ones."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from core.access.audit import audit
from core.doorbell import ring_on_commit
from core.exceptions import ConflictError
from programs import events
from programs.models import ProgramEvent
from webhooks.delivery import retention
from webhooks.delivery.circuit import FAILURE_THRESHOLD
from webhooks.models import WebhookDelivery, WebhookEndpoint
from webhooks.outbox import matching, writer

from .endpoints import Actor, name_of

State, Trigger = WebhookDelivery.State, WebhookDelivery.Trigger
BATCH = 500
FIRST_IN_QUEUE = timedelta(days=365)


def _require_enabled(endpoint: WebhookEndpoint, purpose: str) -> None:
    # Deliveries to a disabled endpoint would stay pending without a hint why.
    if not endpoint.enabled:
        raise ConflictError(f"{endpoint.name} is disabled. Enable it to {purpose}.")


def send_test(endpoint: WebhookEndpoint, *, actor: Actor) -> WebhookDelivery:
    """Queues a `webhook.test` event for this endpoint: a single attempt, even if it is muted or paused.

    Raises ConflictError if the endpoint is disabled.
    """
    _require_enabled(endpoint, "test it")
    now = timezone.now()
    with transaction.atomic():
        event = events.record("webhook.test", actor=name_of(actor), data={"webhook": endpoint.name})
        # First in the queue, and without waiting for the next probe: someone is waiting for the result.
        delivery = WebhookDelivery.objects.create(
            endpoint=endpoint, event=event, next_attempt_at=now - FIRST_IN_QUEUE, next_trigger=Trigger.TEST
        )
        WebhookEndpoint.objects.filter(pk=endpoint.pk, connect_failures__gte=FAILURE_THRESHOLD).update(
            paused_until=None
        )
        audit(actor, "webhook.tested", endpoint.name)
        ring_on_commit(writer.WAKEUP_CHANNEL)
    return delivery


def redeliver(delivery: WebhookDelivery, *, actor: Actor) -> WebhookDelivery:
    """Sends it again with the same id, whatever its state; the retry schedule starts from the beginning.

    Raises ConflictError if the endpoint is disabled.
    """
    _require_enabled(delivery.endpoint, "send it again")
    with transaction.atomic():
        _send_again(WebhookDelivery.objects.filter(pk=delivery.pk))
        audit(actor, "webhook.redelivered", delivery.pk)
    delivery.refresh_from_db()
    return delivery


def failed_since(endpoint: WebhookEndpoint, since: datetime) -> QuerySet[WebhookDelivery]:
    """What `recover` would send: finished but not delivered. Not cancelled or muted ones."""
    states = (State.FAILED, State.EXHAUSTED, State.BLOCKED, State.EXPIRED, State.DEAD)
    found = WebhookDelivery.objects.filter(endpoint=endpoint, state__in=states, created_at__gte=since)
    return found.exclude(next_trigger=Trigger.TEST)


def recover(endpoint: WebhookEndpoint, *, since: datetime, actor: Actor) -> int:
    """Sends `failed_since` again, at the endpoint's rate limit; returns how many.

    Raises ConflictError if the endpoint is disabled.
    """
    _require_enabled(endpoint, "send deliveries again")
    with transaction.atomic():
        count = _send_again(failed_since(endpoint, since))
        audit(actor, "webhook.recovered", endpoint.name, data={"since": since.isoformat(), "count": count})
    return count


def _send_again(rows: QuerySet[WebhookDelivery]) -> int:
    now = timezone.now()
    count = rows.update(
        state=State.PENDING,
        reason="",
        finished_at=None,
        # One that is being sent is due again after its lease: nobody else can claim it before.
        next_attempt_at=Coalesce(F("lease_until"), now),
        next_trigger=Trigger.MANUAL,
        age_from=now,
        withheld=None,
        round_count=0,
        crash_count=0,
    )
    ring_on_commit(writer.WAKEUP_CHANNEL)
    return count


def missing_since(endpoint: WebhookEndpoint, since: datetime) -> list[ProgramEvent]:
    """What `replay_missing` would send: events that match the present subscription but have no delivery, or only
    a cancelled one; oldest first. Not events older than the retained deliveries: they may have been delivered.

    Raises ValidationError if there are more than an endpoint may have deliveries.
    """
    since = max(since, retention.complete_since(endpoint, timezone.now()))
    subscription = writer.subscription_of(endpoint)
    has_row = WebhookDelivery.objects.filter(endpoint=endpoint, event=OuterRef("pk")).exclude(
        state=State.CANCELLED
    )
    rows = ProgramEvent.objects.filter(~Exists(has_row), timestamp__gte=since).select_related("program")
    found = []
    for row in rows.order_by("seq").iterator():
        if matching.matches(subscription, writer.matchable_event(row)):
            found.append(row)
            if len(found) > retention.MAX_PER_ENDPOINT:
                raise ValidationError(
                    {"since": f"There are more than {retention.MAX_PER_ENDPOINT} events. Choose a later start."}
                )
    return found


def replay_missing(endpoint: WebhookEndpoint, *, since: datetime, actor: Actor) -> int:
    """Queues deliveries of `missing_since`; returns how many. Repeating it sends nothing twice.

    Raises ValidationError as `missing_since` does, ConflictError if the endpoint is disabled.
    """
    _require_enabled(endpoint, "send deliveries again")
    missing = missing_since(endpoint, since)
    # Short transactions: SQLite has a single writer.
    for start in range(0, len(missing), BATCH):
        _deliver_all(endpoint, missing[start : start + BATCH])
    audit(actor, "webhook.replayed", endpoint.name, data={"since": since.isoformat(), "count": len(missing)})
    return len(missing)


def _deliver_all(endpoint: WebhookEndpoint, found: list[ProgramEvent]) -> None:
    now = timezone.now()
    with transaction.atomic():
        # Muted ones have a row already: reuse it with its id.
        _send_again(WebhookDelivery.objects.filter(endpoint=endpoint, event__in=found, state=State.CANCELLED))
        rows = [
            WebhookDelivery(
                endpoint=endpoint, event=event, next_attempt_at=now, age_from=now, next_trigger=Trigger.MANUAL
            )
            for event in found
        ]
        # Conflicts: events that got a delivery in the meantime.
        WebhookDelivery.objects.bulk_create(rows, ignore_conflicts=True)
