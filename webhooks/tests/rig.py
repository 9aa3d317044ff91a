"""Endpoints, events and the sender, driven by hand: no agent, no queue, and the clock turned by changing rows."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F

from core.models import number_on_commit
from programs import events, services
from programs.models import Program, ProgramEvent
from webhooks import services as webhooks
from webhooks.delivery.send_slots import Lane
from webhooks.delivery.worker import drain
from webhooks.models import JobTicket, WebhookDelivery, WebhookEndpoint

SCHEDULE = [60, 600, 3600]


def endpoint(url: str = "http://127.0.0.1:9/", name: str = "ops", **values: Any) -> WebhookEndpoint:
    """A saved endpoint that wants all events and is not held back by its rate."""
    given = {"events": ["*"], "rate_per_second": 1000, "retry_schedule": SCHEDULE, "timeout_seconds": 5, **values}
    return webhooks.save_endpoint({"name": name, "url": url, **given}, actor="tester").endpoint


def program(name: str = "web", **fields: Any) -> Program:
    return services.save_definition({"name": name, "command": "sleep 9", **fields}, actor="tester").program


def happen(type_: str = "program.crashed", about: Program | None = None, **data: Any) -> ProgramEvent:
    with transaction.atomic():
        event = events.record(type_, program=about, process_index=0 if about else None, data=data)
        number_on_commit(event, "seq")
    return event


def send(lane: str = Lane.REGULAR) -> None:
    """Runs the job as the queue would, to its end."""
    asyncio.run(drain(lane))


def pass_time(seconds: float) -> None:
    """Everything that waits for a moment comes that much nearer; what happened is that much longer ago."""
    step = timedelta(seconds=seconds)
    WebhookDelivery.objects.update(
        next_attempt_at=F("next_attempt_at") - step,
        lease_until=F("lease_until") - step,
        created_at=F("created_at") - step,
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
    """(number, trigger, status, error class) of every try."""
    return list(delivery.attempts.values_list("number", "trigger", "status", "error_class"))
