"""Creates, changes and removes mutes and maintenance windows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from core.access.audit import audit
from core.change_lock import lock_changes
from programs.models import Program
from webhooks.models import WebhookEndpoint, WebhookMute
from webhooks.outbox import writer

from .endpoints import Actor, name_of

FIELDS = ("endpoint", "program", "starts_at", "ends_at", "cron", "cron_seconds", "reason")
UNBOUNDED = (
    "This mutes all webhooks for all events until the mute is removed. Confirm it with “everything”, or set an "
    "endpoint, a program, an end or maintenance windows."
)


def mute(
    *,
    actor: Actor,
    endpoint: WebhookEndpoint | None = None,
    program: Program | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    cron: str = "",
    cron_seconds: int = 3600,
    reason: str = "",
    everything: bool = False,
) -> WebhookMute:
    """Mutes from `starts_at` (default: now) to `ends_at` (None: until removed); with `cron` only in windows of
    `cron_seconds`. No endpoint means all, no program means all events.

    Raises ValidationError, also for a mute without any limit unless `everything` confirms it.
    """
    row = WebhookMute(
        endpoint=endpoint,
        program=program,
        starts_at=starts_at or timezone.now(),
        ends_at=ends_at,
        cron=cron,
        cron_seconds=cron_seconds,
        reason=reason,
        actor=name_of(actor),
    )
    return _save(row, actor, "webhook.muted", must_be_limited=not everything)


def change_mute(row: WebhookMute, values: Mapping[str, Any], *, actor: Actor) -> WebhookMute:
    """Changes the given FIELDS, for events from now on. Raises ValidationError."""
    was_limited = _is_limited(row)
    for name in FIELDS:
        if name in values:
            setattr(row, name, values[name])
    must_be_limited = was_limited and not values.get("everything")
    return _save(row, actor, "webhook.mute_changed", must_be_limited=must_be_limited)


def _is_limited(row: WebhookMute) -> bool:
    return bool(row.endpoint_id or row.program_id or row.ends_at or row.cron)


def _save(row: WebhookMute, actor: Actor, action: str, *, must_be_limited: bool) -> WebhookMute:
    if row.ends_at is not None and row.ends_at <= row.starts_at:
        raise ValidationError({"ends_at": "The end must be after the start."})
    row.full_clean()
    if must_be_limited and not _is_limited(row):
        raise ValidationError({"everything": UNBOUNDED})
    with transaction.atomic():
        lock_changes()
        row.save()
        writer.invalidate_routes()
        audit(actor, action, str(row), data=_audit_data(row))
    return row


def unmute(row: WebhookMute, *, actor: Actor) -> None:
    with transaction.atomic():
        lock_changes()
        data = _audit_data(row)
        row.delete()
        writer.invalidate_routes()
        audit(actor, "webhook.unmuted", row.reason, data=data)


def _audit_data(row: WebhookMute) -> dict[str, Any]:
    return {"endpoint": row.endpoint_id, "program": row.program_id, "ends_at": row.ends_at, "cron": row.cron}
