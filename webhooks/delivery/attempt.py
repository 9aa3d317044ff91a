"""One attempt: sends a claimed batch and interprets the response. No database access here."""

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
from webhooks.delivery import response_policy, retry_schedule, signing
from webhooks.delivery.response_policy import DeliveryVerdict
from webhooks.outbox.payload import Body
from webhooks.transports import TemplateError
from webhooks.transports.base import SettingsError, Transport

from .claims import ClaimedDelivery, DeliveryBatch, Destination

log = structlog.get_logger(__name__)
LATE_AFTER = timedelta(seconds=60)
MAX_ERROR_LENGTH = 500
CONNECTED_ERRORS = frozenset({"malformed", "failed"})  # all other kinds mean that there was no connection


@dataclass(frozen=True)
class AttemptOutcome:
    """`is_connected` is None when nothing was sent. `retry_after`: seconds that the receiver asked to wait."""

    batch: DeliveryBatch
    verdict: DeliveryVerdict
    started_at: datetime
    duration_ms: int | None = None
    status: int | None = None
    error_class: str = ""
    error: str = ""
    response: str = ""
    peer: str = ""
    retry_after: float = 0.0
    is_connected: bool | None = None


async def deliver(batch: DeliveryBatch, client: Client) -> AttemptOutcome:
    """Never raises: every error becomes an outcome and is stored with the attempt."""
    now = timezone.now()
    started = time.monotonic()
    # Context variables of this batch's own task, for its log lines.
    bind_contextvars(endpoint=batch.destination.name, deliveries=[item.delivery_id for item in batch.items])
    try:
        outcome = await _send(batch, client, now)
    except (TemplateError, SettingsError) as error:
        outcome = AttemptOutcome(batch, DeliveryVerdict.BLOCKED, now, error_class="template", error=str(error))
    except RefusedError as error:
        outcome = AttemptOutcome(batch, DeliveryVerdict.BLOCKED, now, error_class="blocked", error=str(error))
    except TransportError as error:
        is_connected = error.kind in CONNECTED_ERRORS
        outcome = AttemptOutcome(
            batch,
            DeliveryVerdict.RETRY,
            now,
            error_class=error.kind,
            error=error.text,
            is_connected=is_connected,
        )
    # A bug in a format must not stop the other deliveries.
    except Exception as error:
        log.exception("webhook.attempt_failed")
        text = f"{type(error).__name__}: {error}"
        outcome = AttemptOutcome(batch, DeliveryVerdict.RETRY, now, error_class="internal", error=text)
    return _sanitized(outcome, round((time.monotonic() - started) * 1000))


async def _send(batch: DeliveryBatch, client: Client, now: datetime) -> AttemptOutcome:
    destination = batch.destination
    if destination.transport is None:
        raise TemplateError(destination.config_error)
    request = _build_request(destination.transport, batch, now)
    # Only copied if needed: most endpoints use the default TLS settings.
    if destination.tls != request.tls:
        request = replace(request, tls=destination.tls)
    response = await destination.transport.send(client, request, deadline=destination.timeout)
    return _outcome(destination.transport, batch, now, response)


def _build_request(transport: Transport[Any], batch: DeliveryBatch, now: datetime) -> OutgoingRequest:
    destination = batch.destination
    if len(batch.bodies) > 1:
        bodies = [
            _with_lateness(transport, body, item, now)
            for body, item in zip(batch.bodies, batch.items, strict=True)
        ]
        return transport.render_bundle(bodies, destination.url, destination.settings)
    (item,), (body,) = batch.items, batch.bodies
    body = _with_lateness(transport, body, item, now)
    request = transport.render(body, destination.url, destination.settings)
    return _signed(request, item, destination, now) if transport.is_signed and destination.secret else request


def _with_lateness(transport: Transport[Any], body: Body, item: ClaimedDelivery, now: datetime) -> Body:
    # Not for signed bodies: receivers may compare the bodies of repeated messages.
    late = now - item.event_at
    if not transport.is_chat or late < LATE_AFTER:
        return body
    return {**body, "data": {**body["data"], "late_seconds": int(late.total_seconds())}}


def _signed(
    request: OutgoingRequest, item: ClaimedDelivery, destination: Destination, now: datetime
) -> OutgoingRequest:
    secrets = destination.signing_secrets(now)
    signature = signing.signature_headers(item.delivery_id, int(now.timestamp()), request.body, secrets)
    # The signature wins over a template's header of the same name.
    others = {name: value for name, value in request.headers.items() if name.lower() not in signature}
    return OutgoingRequest(request.method, request.url, others | signature, request.body)


def _outcome(
    transport: Transport[Any], batch: DeliveryBatch, started_at: datetime, response: OutgoingResponse
) -> AttemptOutcome:
    verdict = response_policy.classify_response(
        response.status, response.headers, permanent=transport.is_permanent(response)
    )
    retry_after = _retry_after(transport, response)
    # Some services report a rate limit in the body only, or with another status than 429.
    if retry_after and verdict is DeliveryVerdict.RETRY:
        verdict = DeliveryVerdict.THROTTLED
    return AttemptOutcome(
        batch,
        verdict,
        started_at,
        duration_ms=response.duration_ms,
        status=response.status,
        error_class="" if verdict is DeliveryVerdict.DELIVERED else "status",
        error=_error_text(transport, response, verdict),
        response=response.body_head.decode(errors="replace"),
        peer=response.peer,
        retry_after=retry_after,
        is_connected=True,
    )


def _retry_after(transport: Transport[Any], response: OutgoingResponse) -> float:
    """Seconds that the receiver asks to wait, in the header or in its own way; the longer of the two, or 0."""
    body = transport.rate_limited(response)
    waits = [retry_schedule.clamp_wait(body)] if body else []
    if response.status in response_policy.THROTTLING:
        header = retry_schedule.parse_retry_after(response.headers.get("retry-after", ""), timezone.now())
        waits += [header] if header else []
    return max(waits, default=0.0)


def _error_text(transport: Transport[Any], response: OutgoingResponse, verdict: DeliveryVerdict) -> str:
    if verdict is DeliveryVerdict.DELIVERED:
        return ""
    if 300 <= response.status < 400:
        host = urlsplit(response.headers.get("location", "")).hostname or "another path of the same host"
        return f"answered {response.status}: redirects (here to {host}) are not followed"
    said = transport.error_sentence(response)
    return f"answered {response.status}: {said}" if said else f"answered {response.status}"


def _sanitized(outcome: AttemptOutcome, duration_ms: int) -> AttemptOutcome:
    """Masks secrets, replaces characters that terminals or databases refuse, and limits the length."""
    credentials = outcome.batch.destination.credentials
    error = ""
    if outcome.error:
        error = printable(mask(mask_text(outcome.error), list(credentials)))[:MAX_ERROR_LENGTH]
    duration = duration_ms if outcome.duration_ms is None else outcome.duration_ms
    return replace(
        outcome, response=_masked_response(outcome.response, credentials), error=error, duration_ms=duration
    )


@lru_cache(maxsize=64)  # most receivers send the same response every time
def _masked_response(response: str, credentials: tuple[str, ...]) -> str:
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", mask(mask_text(response), list(credentials)))
