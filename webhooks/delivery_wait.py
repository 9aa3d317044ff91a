"""Waits for the result of a delivery sent by hand, and describes it in a sentence."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from asgiref.sync import sync_to_async

from core.models import jobs_are_alive, jobs_heartbeat
from programs.hosts import default_heartbeat, is_alive

from .models import WebhookDelivery
from .selectors import deliveries_with_attempts

DEFAULT_WAIT_SECONDS = 16.0  # the default timeout of an endpoint plus a second to claim the delivery
POLL_SECONDS = 0.1
State = WebhookDelivery.State


def is_settled(delivery: WebhookDelivery, attempts: int) -> bool:
    """Whether it is finished, or was attempted more than `attempts` times and waits for the next attempt."""
    return delivery.state != State.PENDING or (delivery.attempt_count > attempts and delivery.lease_until is None)


def wait_until_settled(pk: str, attempts: int, seconds: float) -> WebhookDelivery | None:
    """The delivery with its attempts once `is_settled`, or as it is after `seconds`; None if it was removed."""
    deadline = time.monotonic() + seconds
    while True:
        found = deliveries_with_attempts().filter(pk=pk).first()
        if found is None or is_settled(found, attempts) or time.monotonic() >= deadline:
            return found
        time.sleep(POLL_SECONDS)


async def wait_until_settled_async(pk: str, attempts: int, seconds: float) -> WebhookDelivery | None:
    deadline = time.monotonic() + seconds
    while True:
        found = await sync_to_async(wait_until_settled)(pk, attempts, 0)
        if found is None or is_settled(found, attempts) or time.monotonic() >= deadline:
            return found
        await asyncio.sleep(POLL_SECONDS)


def describe_result(delivery: WebhookDelivery, now: datetime) -> str:
    """For example "Delivered: answered 200 in 35 ms.", or why it was not sent yet."""
    if delivery.state == State.PENDING and not delivery.attempts.all():
        return f"Not sent yet: {_waiting_reason(delivery, now)}"
    last = max(delivery.attempts.all(), key=lambda attempt: attempt.number, default=None)
    took = f" in {last.duration_ms} ms" if last and last.duration_ms is not None else ""
    answered = f"answered {last.status}" if last and last.status else "accepted"
    if delivery.state == State.DELIVERED:
        return f"Delivered: {answered}{took}."
    error = (last.error if last else "") or delivery.reason or "no reason recorded"
    if delivery.state == State.PENDING:
        return f"Not delivered{took}, will be retried: {error}"
    return f"{delivery.get_state_display().partition(':')[0]}{took}: {error}"


def _waiting_reason(delivery: WebhookDelivery, now: datetime) -> str:
    endpoint = delivery.endpoint
    # It may have been paused or disabled since it was loaded.
    endpoint.refresh_from_db(fields=["enabled", "paused_until"])
    if not endpoint.enabled:
        return "the endpoint is disabled."
    if not is_alive(default_heartbeat(), now):
        return "the agent, which queues the jobs, sends no heartbeat. Is `manage.py serve` running?"
    at = jobs_heartbeat()
    if not jobs_are_alive(at, now):
        since = f"since {at:%Y-%m-%d %H:%M:%S} UTC" if at else "so far"
        return f"no job has finished {since}. Is `manage.py serve` or `manage.py jobs` running?"
    if endpoint.paused_until and endpoint.paused_until > now:
        return f"the endpoint is paused until {endpoint.paused_until:%H:%M:%S} UTC."
    return "it is queued, or the response has not arrived yet."
