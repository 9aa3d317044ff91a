"""Mutes and maintenance windows."""

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

from .actors import Actor, name_of

FIELDS = ("endpoint", "program", "starts_at", "ends_at", "cron", "cron_seconds", "reason")
UNBOUND = (
    "This silences every webhook about everything until it is lifted: say that it is meant, or give an endpoint, "
    "a program, an end or windows."
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
    """Silence from `starts_at` (now) to `ends_at` (until lifted), with `cron` only for so long after each of its
    moments. No endpoint means all, no program means everything. Raises ValidationError, also for one without any
    bound that does not say `everything`: to leave something out by mistake would hide what matters most."""
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
    return _save(row, actor, "webhook.muted", must_be_bound=not everything)


def change_mute(row: WebhookMute, values: Mapping[str, Any], *, actor: Actor) -> WebhookMute:
    """Changes the given FIELDS, as `mute` takes them. Events that came before stay as they were decided. Raises
    ValidationError."""
    was_bound = _is_bound(row)
    for name in FIELDS:
        if name in values:
            setattr(row, name, values[name])
    must_be_bound = was_bound and not values.get("everything")
    return _save(row, actor, "webhook.mute_changed", must_be_bound=must_be_bound)


def _is_bound(row: WebhookMute) -> bool:
    return bool(row.endpoint_id or row.program_id or row.ends_at or row.cron)


def _save(row: WebhookMute, actor: Actor, action: str, *, must_be_bound: bool) -> WebhookMute:
    if row.ends_at is not None and row.ends_at <= row.starts_at:
        raise ValidationError({"ends_at": "The end must come after the beginning."})
    row.full_clean()
    if must_be_bound and not _is_bound(row):
        raise ValidationError({"everything": UNBOUND})
    with transaction.atomic():
        lock_changes()
        row.save()
        writer.forget()
        audit(actor, action, str(row), data=_shown(row))
    return row


def unmute(row: WebhookMute, *, actor: Actor) -> None:
    with transaction.atomic():
        lock_changes()
        shown = _shown(row)
        row.delete()
        writer.forget()
        audit(actor, "webhook.unmuted", row.reason, data=shown)


def _shown(row: WebhookMute) -> dict[str, Any]:
    return {"endpoint": row.endpoint_id, "program": row.program_id, "ends_at": row.ends_at, "cron": row.cron}
