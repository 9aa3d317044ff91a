"""Endpoints, deliveries, mutes and health as JSON, for the API and the commands.

Secrets are never included: a stored one is `{"set": true}`, and URLs are masked by their format.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from core.masking import MASK
from core.secrets import SecretUnreadableError
from core.timeformat import iso
from programs import events

from . import transports
from .delivery.circuit import FAILURE_THRESHOLD
from .health import EndpointHealth, condition_of
from .models import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookMute
from .outbox.writer import mute_rule

SET = {"set": True}
ENDPOINT_FIELDS = (
    "name", "format", "enabled", "events", "programs", "tags", "min_severity", "conditions", "retry_schedule",
    "timeout_seconds", "max_concurrency", "rate_per_second", "bundle_seconds", "max_age_seconds", "verify_tls",
    "ca_certificates", "disabled_reason", "last_error", "revision",
)  # fmt: skip
ENDPOINT_TIMESTAMPS = ("last_success_at", "failing_since", "created_at", "enabled_at")
ATTEMPT_FIELDS = ("number", "trigger", "duration_ms", "status", "error_class", "error", "response", "peer")

JsonObject = dict[str, Any]


def display_url(endpoint: WebhookEndpoint) -> str:
    try:
        return transports.get(endpoint.format).masked(endpoint.url)
    except (SecretUnreadableError, transports.UnknownKindError):
        return MASK


def display_settings(endpoint: WebhookEndpoint) -> JsonObject:
    """Secret settings as `{"set": true}`; empty if the settings cannot be decrypted."""
    try:
        secret = transports.get(endpoint.format).secret_fields()
        return {name: SET if name in secret and value else value for name, value in endpoint.settings.items()}
    except (SecretUnreadableError, transports.UnknownKindError):
        return {}


def endpoint_json(endpoint: WebhookEndpoint, now: datetime) -> JsonObject:
    return {
        "id": endpoint.pk,
        # Only listed fields: a new column must not leak by itself.
        **{name: getattr(endpoint, name) for name in ENDPOINT_FIELDS},
        "url": display_url(endpoint),
        "settings": display_settings(endpoint),
        "secret": SET if endpoint.encrypted_secret else None,
        "old_secret_until": iso(_if_future(endpoint.old_secret_until, now)),
        "condition": condition_of(endpoint, now).value,
        **{name: iso(getattr(endpoint, name)) for name in ENDPOINT_TIMESTAMPS},
    }


def _if_future(at: datetime | None, now: datetime) -> datetime | None:
    return at if at and at > now else None


def delivery_json(delivery: WebhookDelivery, *, attempts: bool = True) -> JsonObject:
    """`event` and `endpoint`, and for `attempts` those too, must be prefetched."""
    is_sending = delivery.lease_until is not None
    found: JsonObject = {
        "id": delivery.pk,
        "webhook": {"id": delivery.endpoint_id, "name": delivery.endpoint.name},
        "event": events.as_json(delivery.event),
        "state": delivery.state,
        "reason": delivery.reason,
        "created_at": iso(delivery.created_at),
        "finished_at": iso(delivery.finished_at),
        # While it is being sent the column holds the end of the lease.
        "next_attempt_at": None if is_sending else iso(delivery.next_attempt_at),
        "sending": is_sending,
        "attempt_count": delivery.attempt_count,
    }
    return found | ({"attempts": [attempt_json(each) for each in delivery.attempts.all()]} if attempts else {})


def attempt_json(attempt: WebhookAttempt) -> JsonObject:
    return {**{name: getattr(attempt, name) for name in ATTEMPT_FIELDS}, "started_at": iso(attempt.started_at)}


def mute_json(mute: WebhookMute, now: datetime) -> JsonObject:
    return {
        "id": mute.pk,
        "webhook": mute.endpoint_id,
        "program": mute.program_id,
        "starts_at": iso(mute.starts_at),
        "ends_at": iso(mute.ends_at),
        "cron": mute.cron,
        "cron_seconds": mute.cron_seconds,
        "reason": mute.reason,
        "actor": mute.actor,
        "active": mute_rule(mute).is_active(now),
    }


def health_json(health: EndpointHealth) -> JsonObject:
    return {
        "condition": health.condition.value,
        "hours": len(health.strip),
        "counts": health.counts,
        "success_ratio": health.success_ratio,
        "duration_ms": {"p95": health.duration_ms_p95},
        "oldest_pending_seconds": health.oldest_pending_seconds,
        "last_success_at": iso(health.last_success_at),
        "failing_since": iso(health.failing_since),
        "last_error": health.last_error,
        "disabled_reason": health.disabled_reason,
        "circuit": {
            "state": "open" if health.connect_failures >= FAILURE_THRESHOLD else "closed",
            "connect_failures": health.connect_failures,
            "paused_until": iso(health.paused_until),
        },
        "strip": [{**asdict(hour), "start": iso(hour.start)} for hour in health.strip],
    }
