"""The verbs of webhooks: what people, the API, the admin and commands ask for.

Each change of an endpoint first advances the counter that every event advances too, so that no event in the middle
of being written still sees the endpoint as it was. Nothing here sends anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from core.access import Principal
from core.access.audit import audit
from core.doorbell import ring_on_commit
from core.http import Policy, RefusedError
from core.models import Sequence
from programs import events
from programs.models import Program, ProgramEvent

from . import matching, outbox, retention, signing, transports
from .models import WebhookDelivery, WebhookEndpoint, WebhookMute
from .placeholders import TemplateError
from .transports.base import SettingsError

State, Trigger = WebhookDelivery.State, WebhookDelivery.Trigger
Actor = str | Principal
SENDER = "webhooks"  # the actor of what the sender decides itself
OLD_SECRET_FOR = timedelta(hours=24)
BATCH = 500
SET = {"set": True}

PLAIN_FIELDS = (
    "name", "format", "enabled", "events", "programs", "tags", "min_severity", "conditions", "retry_schedule",
    "timeout_seconds", "max_concurrency", "rate_per_second", "bundle_seconds", "max_age_seconds",
)  # fmt: skip
FIELDS = (*PLAIN_FIELDS, "url", "settings")


@dataclass(frozen=True)
class Saved:
    """`secret` is in clear once, when it has just been made; empty otherwise."""

    endpoint: WebhookEndpoint
    secret: str = ""


# --- Endpoints ------------------------------------------------------------------------------------------


def save_endpoint(
    values: Mapping[str, Any], *, actor: Actor, endpoint: WebhookEndpoint | None = None, resume: bool = False
) -> Saved:
    """Creates an endpoint, or changes the given FIELDS of `endpoint`. Raises ValidationError with field names.

    `{"set": true}` keeps the stored URL, and in `settings` the stored value of a secret. An endpoint switched on
    again gets what was pending when it went off only with `resume`; otherwise that is cancelled.
    """
    with transaction.atomic():
        revision = Sequence.advance()
        created = endpoint is None
        subject = endpoint or WebhookEndpoint()
        was_enabled = created or WebhookEndpoint.objects.filter(pk=subject.pk, enabled=True).exists()
        changed = _assign(subject, values)
        secret = _first_secret(subject)
        subject.revision = revision
        _save(subject, created, [*changed, "revision", *(["encrypted_secret"] if secret else [])])
        if subject.enabled and not was_enabled:
            _switched_on(subject, resume)
        outbox.forget()
        action = "webhook.created" if created else "webhook.changed"
        audit(actor, action, subject.name, data={"fields": sorted(values), "format": subject.format})
    return Saved(subject, secret)


def _assign(endpoint: WebhookEndpoint, values: Mapping[str, Any]) -> list[str]:
    """Puts the values on `endpoint`, checked; returns the columns that were given."""
    if unknown := values.keys() - set(FIELDS):
        raise ValidationError(dict.fromkeys(sorted(unknown), "There is no such field."))
    columns = [name for name in PLAIN_FIELDS if name in values]
    for name in columns:
        setattr(endpoint, name, values[name])
    url, given = values.get("url", SET), values.get("settings", SET)
    if not endpoint.encrypted_url and url == SET:
        raise ValidationError({"url": "An address is needed."})
    _check_transport(endpoint, endpoint.url if url == SET else url, given)
    if url != SET:
        endpoint.url = url
        columns.append("encrypted_url")
    if given != SET:
        endpoint.settings = _with_kept_secrets(endpoint, given)
        columns.append("encrypted_settings")
    endpoint.full_clean()
    return columns


def _check_transport(endpoint: WebhookEndpoint, url: Any, given: Any) -> None:
    """Raises ValidationError for an unknown format, settings that do not fit it, or an address it cannot use."""
    try:
        transport = transports.get(endpoint.format)
    except transports.UnknownKindError as error:
        raise ValidationError({"format": str(error)}) from error
    if not isinstance(url, str) or not (given == SET or isinstance(given, Mapping)):
        raise ValidationError({"url" if not isinstance(url, str) else "settings": "This has the wrong type."})
    settings = endpoint.settings if given == SET else _with_kept_secrets(endpoint, given)
    try:
        transport.check(url, settings, Policy.from_settings())
    except SettingsError as error:
        raise ValidationError({"settings": str(error)}) from error
    except TemplateError as error:
        raise ValidationError({"settings": str(error)}) from error
    except RefusedError as error:
        raise ValidationError({"url": str(error)}) from error


def _with_kept_secrets(endpoint: WebhookEndpoint, given: Mapping[str, Any]) -> dict[str, Any]:
    stored = endpoint.settings
    kept = {name: stored[name] for name, value in given.items() if value == SET and name in stored}
    return {**given, **kept}


def _first_secret(endpoint: WebhookEndpoint) -> str:
    """Made when the format signs and there is none yet."""
    if not transports.get(endpoint.format).is_signed or endpoint.encrypted_secret:
        return ""
    endpoint.secret = secret = signing.new_secret()
    return secret


def _save(endpoint: WebhookEndpoint, created: bool, columns: list[str]) -> None:
    """Only what was given: the health columns belong to the sender, which may be writing them now."""
    if created:
        endpoint.save(force_insert=True)
    else:
        endpoint.save(update_fields=columns)


def _switched_on(endpoint: WebhookEndpoint, resume: bool) -> None:
    """With a clean slate: old failures are no reason to switch it off again at the first new one."""
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(
        connect_failures=0,
        paused_until=None,
        failing_since=None,
        failed_messages=0,
        disabled_reason="",
        last_error="",
        enabled_at=timezone.now(),
    )
    if not resume:
        _cancel_pending(endpoint, "the endpoint was switched off meanwhile")
    ring_on_commit(outbox.BELL)


def _cancel_pending(endpoint: WebhookEndpoint, reason: str) -> int:
    pending = WebhookDelivery.objects.filter(endpoint=endpoint, state=State.PENDING)
    return pending.update(state=State.CANCELLED, finished_at=timezone.now(), next_attempt_at=None, reason=reason)


def remove_endpoint(endpoint: WebhookEndpoint, *, actor: Actor) -> None:
    """With its deliveries and their attempts."""
    with transaction.atomic():
        Sequence.advance()
        name = endpoint.name
        endpoint.delete()
        outbox.forget()
        audit(actor, "webhook.removed", name)


def switch_off(endpoint: WebhookEndpoint, *, reason: str, cancel_pending: bool, actor: Actor = SENDER) -> None:
    """Nothing is sent there any more. Tells the other endpoints, unless it was off already."""
    with transaction.atomic():
        columns = {"enabled": False, "disabled_reason": reason, "revision": Sequence.advance()}
        if not WebhookEndpoint.objects.filter(pk=endpoint.pk, enabled=True).update(**columns):
            return
        if cancel_pending:
            _cancel_pending(endpoint, reason)
        outbox.forget()
        name = actor if isinstance(actor, str) else actor.actor
        events.record("webhook.disabled", actor=name, data={"webhook": endpoint.name, "reason": reason})
        audit(actor, "webhook.disabled", endpoint.name, data={"reason": reason})


def rotate_secret(endpoint: WebhookEndpoint, *, actor: Actor) -> str:
    """The new secret, in clear this once. For a day everything is signed with the old one as well."""
    with transaction.atomic():
        secret = signing.new_secret()
        endpoint.encrypted_old_secret = endpoint.encrypted_secret
        endpoint.old_secret_until = timezone.now() + OLD_SECRET_FOR
        endpoint.secret = secret
        endpoint.revision = Sequence.advance()
        endpoint.save(update_fields=["encrypted_secret", "encrypted_old_secret", "old_secret_until", "revision"])
        audit(actor, "webhook.secret_rotated", endpoint.name)
    return secret


# --- Sending by hand ------------------------------------------------------------------------------------


def send_test(endpoint: WebhookEndpoint, *, actor: Actor) -> WebhookDelivery:
    """Queues a `webhook.test` event for this endpoint alone; it is tried once, now, even if the endpoint is muted.

    Raises ValidationError while the endpoint is switched off.
    """
    if not endpoint.enabled:
        raise ValidationError("The endpoint is switched off; switch it on to test it.")
    name = actor if isinstance(actor, str) else actor.actor
    with transaction.atomic():
        event = events.record("webhook.test", actor=name, data={"webhook": endpoint.name})
        delivery = WebhookDelivery.objects.create(
            endpoint=endpoint, event=event, next_attempt_at=timezone.now(), next_trigger=Trigger.TEST
        )
        audit(actor, "webhook.tested", endpoint.name)
        ring_on_commit(outbox.BELL)
    return delivery


def redeliver(delivery: WebhookDelivery, *, actor: Actor) -> WebhookDelivery:
    """Sends it again with the same id, whatever became of it; if that fails, the schedule begins anew."""
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
    """Sends everything in `failed_since` again; how many. The endpoint's rate keeps it from being flooded."""
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
    ring_on_commit(outbox.BELL)
    return count


def missing_since(endpoint: WebhookEndpoint, since: datetime) -> list[ProgramEvent]:
    """What `replay_missing` would send: events it wants by its present rules and has no delivery of, or a muted
    one; oldest first. Not from before the memory of deliveries reaches: those may have been delivered."""
    since = max(since, retention.reaches_back_to(endpoint, timezone.now()))
    target = outbox.target_of(endpoint)
    has_row = WebhookDelivery.objects.filter(endpoint=endpoint, event=OuterRef("pk")).exclude(
        state=State.CANCELLED
    )
    rows = ProgramEvent.objects.filter(~Exists(has_row), timestamp__gte=since).select_related("program")
    return [row for row in rows.order_by("seq").iterator() if matching.wants(target, outbox.subject(row))]


def replay_missing(endpoint: WebhookEndpoint, *, since: datetime, actor: Actor) -> int:
    """Delivers `missing_since`; how many. May be repeated: what has a delivery by then is left out."""
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


# --- Silence --------------------------------------------------------------------------------------------


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
) -> WebhookMute:
    """Silence from `starts_at` (now) to `ends_at` (until lifted), with `cron` only for so long after each of its
    moments. No endpoint means all, no program means everything. Raises ValidationError."""
    row = WebhookMute(
        endpoint=endpoint,
        program=program,
        starts_at=starts_at or timezone.now(),
        ends_at=ends_at,
        cron=cron,
        cron_seconds=cron_seconds,
        reason=reason,
        actor=actor if isinstance(actor, str) else actor.actor,
    )
    if ends_at is not None and ends_at <= row.starts_at:
        raise ValidationError({"ends_at": "The end must come after the beginning."})
    row.full_clean()
    with transaction.atomic():
        Sequence.advance()
        row.save()
        outbox.forget()
        audit(actor, "webhook.muted", str(row), data=_shown(row))
    return row


def unmute(row: WebhookMute, *, actor: Actor) -> None:
    with transaction.atomic():
        Sequence.advance()
        shown = _shown(row)
        row.delete()
        outbox.forget()
        audit(actor, "webhook.unmuted", row.reason, data=shown)


def _shown(row: WebhookMute) -> dict[str, Any]:
    return {"endpoint": row.endpoint_id, "program": row.program_id, "ends_at": row.ends_at, "cron": row.cron}
