"""Endpoints, events and the worker without agent and queue. Time passes by changing timestamps."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F

from programs import events, services
from programs.models import Program, ProgramEvent
from webhooks import services as webhooks
from webhooks.delivery.send_slots import SendQueue
from webhooks.delivery.worker import drain
from webhooks.models import JobTicket, WebhookDelivery, WebhookEndpoint

SCHEDULE = [60, 600, 3600]


def endpoint(url: str = "http://127.0.0.1:9/", name: str = "ops", **values: Any) -> WebhookEndpoint:
    """A saved endpoint for all events, with a rate limit that is never reached."""
    given = {"events": ["*"], "rate_per_second": 1000, "retry_schedule": SCHEDULE, "timeout_seconds": 5, **values}
    return webhooks.save_endpoint({"name": name, "url": url, **given}, actor="tester").endpoint


def program(name: str = "web", **fields: Any) -> Program:
    return services.save_definition({"name": name, "command": "sleep 9", **fields}, actor="tester").program


def record_event(type_: str = "program.crashed", about: Program | None = None, **data: Any) -> ProgramEvent:
    with transaction.atomic():
        return events.record(type_, program=about, process_index=0 if about else None, data=data)


def send(queue: str = SendQueue.REGULAR) -> None:
    """Runs the job as the queue would, until it stops."""
    asyncio.run(drain(queue))


def pass_time(seconds: float) -> None:
    """Moves all timestamps back."""
    step = timedelta(seconds=seconds)
    WebhookDelivery.objects.update(
        next_attempt_at=F("next_attempt_at") - step,
        lease_until=F("lease_until") - step,
        created_at=F("created_at") - step,
        age_from=F("age_from") - step,
    )
    WebhookEndpoint.objects.update(
        paused_until=F("paused_until") - step,
        paced_until=F("paced_until") - step,
        failing_since=F("failing_since") - step,
        last_success_at=F("last_success_at") - step,
        enabled_at=F("enabled_at") - step,
    )
    JobTicket.objects.update(held_until=F("held_until") - step, queued_at=F("queued_at") - step)
    ProgramEvent.objects.update(timestamp=F("timestamp") - step)


def only_delivery() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


def attempts(delivery: WebhookDelivery) -> list[tuple[int, str, int | None, str]]:
    """(number, trigger, status, error class) of every attempt."""
    return list(delivery.attempts.values_list("number", "trigger", "status", "error_class"))


def finished(state: str, **columns: Any) -> WebhookDelivery:
    record_event("agent.started")
    delivery = WebhookDelivery.objects.latest("event__seq")
    WebhookDelivery.objects.filter(pk=delivery.pk).update(
        state=state, next_attempt_at=None, round_count=9, crash_count=3, **columns
    )
    return delivery
