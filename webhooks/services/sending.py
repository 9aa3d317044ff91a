"""Sending by hand: tests, again, what failed, what is missing. It queues; the sender sends."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from core.access.audit import audit
from core.doorbell import ring_on_commit
from core.exceptions import ConflictError
from programs import events
from programs.models import ProgramEvent
from webhooks.delivery import retention
from webhooks.delivery.circuit import OPENS_AFTER
from webhooks.models import WebhookDelivery, WebhookEndpoint
from webhooks.outbox import matching, writer

from .actors import Actor, name_of

State, Trigger = WebhookDelivery.State, WebhookDelivery.Trigger
BATCH = 500
BEFORE_ALL_OTHERS = timedelta(days=365)


def _require_enabled(endpoint: WebhookEndpoint, what_for: str) -> None:
    """Raises ConflictError: what is queued for an endpoint that is off would wait without a word."""
    if not endpoint.enabled:
        raise ConflictError(f"{endpoint.name} is switched off; switch it on to {what_for}.")


def send_test(endpoint: WebhookEndpoint, *, actor: Actor) -> WebhookDelivery:
    """Queues a `webhook.test` event for this endpoint alone; it is tried once, now, even if the endpoint is muted
    or cannot be reached. Raises ConflictError while the endpoint is switched off.
    """
    _require_enabled(endpoint, "test it")
    now = timezone.now()
    with transaction.atomic():
        event = events.record("webhook.test", actor=name_of(actor), data={"webhook": endpoint.name})
        # Whoever tests wants to know now: first in the queue, and without the minute between two probes.
        delivery = WebhookDelivery.objects.create(
            endpoint=endpoint, event=event, next_attempt_at=now - BEFORE_ALL_OTHERS, next_trigger=Trigger.TEST
        )
        WebhookEndpoint.objects.filter(pk=endpoint.pk, connect_failures__gte=OPENS_AFTER).update(paused_until=None)
        audit(actor, "webhook.tested", endpoint.name)
        ring_on_commit(writer.BELL)
    return delivery


def redeliver(delivery: WebhookDelivery, *, actor: Actor) -> WebhookDelivery:
    """Sends it again with the same id, whatever became of it; if that fails, the schedule begins anew.

    Raises ConflictError while the endpoint is switched off.
    """
    _require_enabled(delivery.endpoint, "send this again")
    with transaction.atomic():
        _send_again(WebhookDelivery.objects.filter(pk=delivery.pk))
        audit(actor, "webhook.redelivered", delivery.pk)
    delivery.refresh_from_db()
    return delivery


def failed_since(endpoint: WebhookEndpoint, since: datetime) -> QuerySet[WebhookDelivery]:
    """What `recover` would send: ended without having been delivered, mutes and cancellations left out."""
    states = (State.FAILED, State.EXHAUSTED, State.BLOCKED, State.EXPIRED, State.DEAD)
    found = WebhookDelivery.objects.filter(endpoint=endpoint, state__in=states, created_at__gte=since)
    return found.exclude(next_trigger=Trigger.TEST)


def recover(endpoint: WebhookEndpoint, *, since: datetime, actor: Actor) -> int:
    """Sends everything in `failed_since` again; how many. The endpoint's rate keeps it from being flooded.

    Raises ConflictError while the endpoint is switched off.
    """
    _require_enabled(endpoint, "send there again")
    with transaction.atomic():
        count = _send_again(failed_since(endpoint, since))
        audit(actor, "webhook.recovered", endpoint.name, data={"since": since.isoformat(), "count": count})
    return count


def _send_again(rows: QuerySet[WebhookDelivery]) -> int:
    count = rows.update(
        state=State.PENDING,
        reason="",
        finished_at=None,
        next_attempt_at=timezone.now(),
        next_trigger=Trigger.MANUAL,
        round_count=0,
        crash_count=0,
    )
    ring_on_commit(writer.BELL)
    return count


def missing_since(endpoint: WebhookEndpoint, since: datetime) -> list[ProgramEvent]:
    """What `replay_missing` would send: events it wants by its present rules and has no delivery of, or a muted
    one; oldest first. Not from before the memory of deliveries reaches: those may have been delivered.

    Raises ValidationError for more than that memory holds.
    """
    since = max(since, retention.reaches_back_to(endpoint, timezone.now()))
    target = writer.target_of(endpoint)
    has_row = WebhookDelivery.objects.filter(endpoint=endpoint, event=OuterRef("pk")).exclude(
        state=State.CANCELLED
    )
    rows = ProgramEvent.objects.filter(~Exists(has_row), timestamp__gte=since).select_related("program")
    found = []
    for row in rows.order_by("seq").iterator():
        if matching.wants(target, writer.subject(row)):
            found.append(row)
            if len(found) > retention.KEEP_OF_ENDPOINT:
                raise ValidationError({"since": f"These are more than {retention.KEEP_OF_ENDPOINT}; begin later."})
    return found


def replay_missing(endpoint: WebhookEndpoint, *, since: datetime, actor: Actor) -> int:
    """Delivers `missing_since`; how many. May be repeated: what has a delivery by then is left out.

    Raises ValidationError as that does, ConflictError while the endpoint is switched off.
    """
    _require_enabled(endpoint, "send there again")
    missing = missing_since(endpoint, since)
    for start in range(0, len(missing), BATCH):
        _deliver_all(endpoint, missing[start : start + BATCH])
    audit(actor, "webhook.replayed", endpoint.name, data={"since": since.isoformat(), "count": len(missing)})
    return len(missing)


def _deliver_all(endpoint: WebhookEndpoint, found: list[ProgramEvent]) -> None:
    now = timezone.now()
    with transaction.atomic():
        _send_again(WebhookDelivery.objects.filter(endpoint=endpoint, event__in=found, state=State.CANCELLED))
        rows = [
            WebhookDelivery(endpoint=endpoint, event=event, next_attempt_at=now, next_trigger=Trigger.MANUAL)
            for event in found
        ]
        WebhookDelivery.objects.bulk_create(rows, ignore_conflicts=True)
