"""One try: from a claimed parcel to what came of it. No database here."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.utils import timezone
from structlog.contextvars import bind_contextvars

from core.http import Client, OutgoingRequest, OutgoingResponse, RefusedError, TransportError
from core.masking import CONTROL, mask_text, printable
from core.secrets import mask
from webhooks.delivery import response_policy, schedule, signing
from webhooks.delivery.response_policy import Verdict
from webhooks.outbox.payload import Body
from webhooks.transports import TemplateError
from webhooks.transports.base import SettingsError, Transport

from .claims import Batch, Destination, Item

log = structlog.get_logger(__name__)
LATE_AFTER = timedelta(seconds=60)
LONGEST_ERROR = 500
ANSWERED = frozenset({"malformed", "failed"})  # somebody is there; every other kind means that nobody answered


@dataclass(frozen=True)
class Outcome:
    """What came of a parcel. `reached` is None when nothing was sent; `wait`: seconds the receiver asked for."""

    batch: Batch
    verdict: Verdict
    started_at: datetime
    duration_ms: int | None = None
    status: int | None = None
    error_class: str = ""
    error: str = ""
    response: str = ""
    peer: str = ""
    wait: float = 0.0
    reached: bool | None = None


async def deliver(batch: Batch, client: Client) -> Outcome:
    """Never raises: whatever goes wrong is an outcome, and goes into the delivery's log."""
    now = timezone.now()
    begun = time.monotonic()
    # For the lines of this task, which is the parcel's own.
    bind_contextvars(endpoint=batch.destination.name, deliveries=[item.delivery for item in batch.items])
    try:
        outcome = await _deliver(batch, client, now)
    except (TemplateError, SettingsError) as error:
        outcome = Outcome(batch, Verdict.BLOCKED, now, error_class="template", error=str(error))
    except RefusedError as error:
        outcome = Outcome(batch, Verdict.BLOCKED, now, error_class="blocked", error=str(error))
    except TransportError as error:
        reached = error.kind in ANSWERED
        outcome = Outcome(batch, Verdict.RETRY, now, error_class=error.kind, error=error.text, reached=reached)
    except Exception as error:
        log.exception("webhook.attempt_broke")
        outcome = Outcome(
            batch, Verdict.RETRY, now, error_class="internal", error=f"{type(error).__name__}: {error}"
        )
    return _presentable(outcome, round((time.monotonic() - begun) * 1000))


async def _deliver(batch: Batch, client: Client, now: datetime) -> Outcome:
    destination = batch.destination
    if destination.transport is None:
        raise TemplateError(destination.unusable)
    request = _request(destination.transport, batch, now)
    if destination.tls != request.tls:
        request = replace(request, tls=destination.tls)
    response = await destination.transport.send(client, request, deadline=destination.timeout)
    return _answered(destination.transport, batch, now, response)


def _request(transport: Transport[Any], batch: Batch, now: datetime) -> OutgoingRequest:
    destination = batch.destination
    if len(batch.bodies) > 1:
        told = [
            _told_late(transport, body, item, now) for body, item in zip(batch.bodies, batch.items, strict=True)
        ]
        return transport.render_bundle(told, destination.url, destination.settings)
    (item,), (body,) = batch.items, batch.bodies
    body = _told_late(transport, body, item, now)
    request = transport.render(body, destination.url, destination.settings)
    return _signed(request, item, destination, now) if transport.is_signed and destination.secret else request


def _told_late(transport: Transport[Any], body: Body, item: Item, now: datetime) -> Body:
    """Messages to people say that they are late. Signed bodies stay as they are through all tries."""
    late = now - item.event_at
    if not transport.is_chat or late < LATE_AFTER:
        return body
    return {**body, "data": {**body["data"], "late_seconds": int(late.total_seconds())}}


def _signed(request: OutgoingRequest, item: Item, destination: Destination, now: datetime) -> OutgoingRequest:
    signature = signing.headers(item.delivery, int(now.timestamp()), request.body, destination.secrets(now))
    theirs = {name: value for name, value in request.headers.items() if name.lower() not in signature}
    return OutgoingRequest(request.method, request.url, theirs | signature, request.body)


def _answered(
    transport: Transport[Any], batch: Batch, started_at: datetime, response: OutgoingResponse
) -> Outcome:
    verdict = response_policy.of_answer(
        response.status, response.headers, permanent=transport.is_permanent(response)
    )
    asked = transport.rate_limited(response)
    if asked is None and verdict is Verdict.THROTTLED:
        asked = schedule.retry_after(response.headers["retry-after"], timezone.now())
    elif asked is not None and verdict is Verdict.RETRY:
        verdict = Verdict.THROTTLED
    return Outcome(
        batch,
        verdict,
        started_at,
        duration_ms=response.duration_ms,
        status=response.status,
        error_class="" if verdict is Verdict.DELIVERED else "status",
        error=_explained(response, verdict),
        response=response.body_head.decode(errors="replace"),
        peer=response.peer,
        wait=asked or 0.0,
        reached=True,
    )


def _explained(response: OutgoingResponse, verdict: Verdict) -> str:
    if verdict is Verdict.DELIVERED:
        return ""
    if 300 <= response.status < 400:
        host = urlsplit(response.headers.get("location", "")).hostname or "somewhere else on the same host"
        return f"answered {response.status}: redirects (here to {host}) are not followed"
    return f"answered {response.status}"


def _presentable(outcome: Outcome, duration_ms: int) -> Outcome:
    """Without secrets, without what a terminal or a database cannot take, and not too long."""
    hidden = outcome.batch.destination.hidden
    error = printable(mask(mask_text(outcome.error), list(hidden)))[:LONGEST_ERROR] if outcome.error else ""
    duration = duration_ms if outcome.duration_ms is None else outcome.duration_ms
    return replace(outcome, response=_shown(outcome.response, hidden), error=error, duration_ms=duration)


@lru_cache(maxsize=64)
def _shown(response: str, hidden: tuple[str, ...]) -> str:
    """Most receivers say the same each time."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", mask(mask_text(response), list(hidden)))
