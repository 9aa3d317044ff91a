"""Waiting for what was sent by hand, and saying in a sentence what came of it or what holds it up."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from asgiref.sync import sync_to_async

from core.models import jobs_are_alive, jobs_heartbeat
from programs.hosts import default_heartbeat, is_alive

from .models import WebhookDelivery
from .selectors import deliveries_with_attempts

PATIENCE = 16.0  # the default timeout of an endpoint, and a second to pick the delivery up
LOOK_SECONDS = 0.1
State = WebhookDelivery.State


def is_settled(delivery: WebhookDelivery, attempts: int) -> bool:
    """Whether it is at its end, or has been tried more than `attempts` times and waits for the next."""
    return delivery.state != State.PENDING or (delivery.attempt_count > attempts and delivery.lease_until is None)


def until_settled(pk: str, attempts: int, seconds: float) -> WebhookDelivery | None:
    """The delivery with its tries once `is_settled`, or as it is after `seconds`; None when it was removed."""
    deadline = time.monotonic() + seconds
    while True:
        found = deliveries_with_attempts().filter(pk=pk).first()
        if found is None or is_settled(found, attempts) or time.monotonic() >= deadline:
            return found
        time.sleep(LOOK_SECONDS)


async def until_settled_async(pk: str, attempts: int, seconds: float) -> WebhookDelivery | None:
    """The same without a thread that waits."""
    deadline = time.monotonic() + seconds
    while True:
        found = await sync_to_async(until_settled)(pk, attempts, 0)
        if found is None or is_settled(found, attempts) or time.monotonic() >= deadline:
            return found
        await asyncio.sleep(LOOK_SECONDS)


def told(delivery: WebhookDelivery, now: datetime) -> str:
    """What came of it: "Delivered: answered 200 in 35 ms."; or why nothing has yet."""
    if delivery.state == State.PENDING and not delivery.attempts.all():
        return f"Not sent yet: {_what_holds_up(delivery, now)}"
    last = max(delivery.attempts.all(), key=lambda attempt: attempt.number, default=None)
    took = f" in {last.duration_ms} ms" if last and last.duration_ms is not None else ""
    answered = f"answered {last.status}" if last and last.status else "accepted"
    if delivery.state == State.DELIVERED:
        return f"Delivered: {answered}{took}."
    why = (last.error if last else "") or delivery.reason or "no reason is known"
    if delivery.state == State.PENDING:
        return f"Not delivered{took}, to be tried again: {why}"
    return f"{delivery.get_state_display().partition(':')[0]}{took}: {why}"


def _what_holds_up(delivery: WebhookDelivery, now: datetime) -> str:
    endpoint = delivery.endpoint
    endpoint.refresh_from_db(fields=["enabled", "paused_until"])
    if not endpoint.enabled:
        return "the endpoint was switched off."
    if not is_alive(default_heartbeat(), now):
        return "the agent is silent, which hands out the jobs. Does `manage.py serve` run?"
    at = jobs_heartbeat()
    if not jobs_are_alive(at, now):
        since = f"since {at:%Y-%m-%d %H:%M:%S} UTC" if at else "so far"
        return f"no job was finished {since}. Does `manage.py serve` run, or `manage.py jobs`?"
    if endpoint.paused_until and endpoint.paused_until > now:
        return f"the receiver asked to be left alone until {endpoint.paused_until:%H:%M:%S} UTC."
    return "it is its turn soon, or the answer has not come yet."
