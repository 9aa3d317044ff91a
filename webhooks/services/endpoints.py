"""Creates, changes, removes, enables and disables endpoints, and rotates their secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.utils import timezone

from core.access import Principal
from core.access.audit import audit
from core.doorbell import ring_on_commit
from core.exceptions import ConflictError
from core.http import Policy, RefusedError
from core.masking import MASK
from core.models import Sequence
from core.secrets import SecretUnreadableError
from core.timeformat import local_time
from programs import events
from programs.models import Program
from webhooks import transports, validation
from webhooks.delivery import signing
from webhooks.models import OldSecret, WebhookDelivery, WebhookEndpoint
from webhooks.outbox import writer
from webhooks.placeholders import TemplateError
from webhooks.serializers import display_url
from webhooks.transports.base import SettingsError

Actor = str | Principal
SYSTEM_ACTOR = "webhooks"  # the actor of what the worker decides, such as disabling an endpoint


def name_of(actor: Actor) -> str:
    return actor if isinstance(actor, str) else actor.actor


State = WebhookDelivery.State
OLD_SECRET_FOR = timedelta(hours=24)
MAX_OLD_SECRETS = 10  # each adds a signature to a header whose length receivers limit
SET = {"set": True}

PLAIN_FIELDS = (
    "name", "format", "enabled", "events", "programs", "tags", "min_severity", "conditions", "retry_schedule",
    "timeout_seconds", "max_concurrency", "rate_per_second", "bundle_seconds", "max_age_seconds",
)  # fmt: skip
TLS_FIELDS = ("verify_tls", "ca_certificates")
FIELDS = (*PLAIN_FIELDS, *TLS_FIELDS, "url", "settings")
SECRET_COLUMNS = (
    "encrypted_url", "encrypted_settings", "encrypted_secret", "encrypted_old_secret", "old_secret_until",
)  # fmt: skip


@dataclass(frozen=True)
class SavedEndpoint:
    """`secret`: in clear if it has just been created, otherwise empty."""

    endpoint: WebhookEndpoint
    secret: str = ""


def save_endpoint(
    values: Mapping[str, Any],
    *,
    actor: Actor,
    endpoint: WebhookEndpoint | None = None,
    resume: bool | None = False,
) -> SavedEndpoint:
    """Creates an endpoint, or changes the given FIELDS of `endpoint`. Raises ValidationError with field names.

    `{"set": true}` keeps the stored URL, and in `settings` the stored value of a secret; so does the masked URL.
    `resume`, when the endpoint is enabled again: True sends its pending deliveries, False cancels them, None
    raises ValidationError if there are any. Raises PermissionDenied if anyone but a superuser disables the
    verification of certificates, ConflictError if the endpoint was removed.
    """
    with transaction.atomic():
        revision = Sequence.advance()
        created = endpoint is None
        subject = endpoint or WebhookEndpoint()
        before = None if created else _refresh_secrets(subject)
        _check_programs(values, before.programs if before else [])
        _check_events(values, before.events if before else [])
        changed = _assign(subject, values)
        if not subject.verify_tls and (before is None or before.verify_tls):
            _require_superuser(actor)
        secret = _ensure_secret(subject)
        # Tells other processes to load the subscription again.
        subject.revision = revision
        _save(subject, created, [*changed, "revision", *(["encrypted_secret"] if secret else [])])
        if before and subject.enabled and not before.enabled:
            _reset_after_enable(subject, resume)
        writer.invalidate_routes()
        action = "webhook.created" if created else "webhook.changed"
        # Names of fields only: their values may be secrets.
        audit(actor, action, subject.name, data={"fields": sorted(values), "format": subject.format})
    return SavedEndpoint(subject, secret)


def _refresh_secrets(endpoint: WebhookEndpoint) -> WebhookEndpoint:
    """Returns the stored row and copies its secrets to `endpoint`: kept secrets are those stored now.

    Call it after `Sequence.advance()`, which serializes changes. Raises ConflictError.
    """
    stored = WebhookEndpoint.objects.filter(pk=endpoint.pk).first()
    if stored is None:
        raise ConflictError(f"{endpoint.name} was removed.")
    for name in SECRET_COLUMNS:
        setattr(endpoint, name, getattr(stored, name))
    return stored


def _check_programs(values: Mapping[str, Any], known: list[int]) -> None:
    # Programs that were removed in the meantime may stay listed; new ones must exist.
    given = values.get("programs", [])
    # Invalid types are left to the validators of the model.
    new = {each for each in given if type(each) is int} - set(known) if isinstance(given, list) else set()
    if new and (gone := new - set(Program.objects.filter(pk__in=new).values_list("pk", flat=True))):
        raise ValidationError({"programs": f"There is no program {min(gone)}."})


def _check_events(values: Mapping[str, Any], known: list[str]) -> None:
    try:
        validation.known_events(values.get("events"), known)
    except ValidationError as error:
        raise ValidationError({"events": error.messages}) from error


def _promised_secrets(endpoint: WebhookEndpoint, now: datetime) -> list[OldSecret]:
    """The present secret and all earlier ones that still sign: receivers may know any of them."""
    try:
        promised = [old for old in endpoint.old_secrets if old.until > now]
        present = [OldSecret(endpoint.secret, now + OLD_SECRET_FOR)] if endpoint.encrypted_secret else []
    # Nothing can be signed with them any more.
    except SecretUnreadableError:
        return []
    if len(promised) >= MAX_OLD_SECRETS:
        raise ConflictError(
            f"{len(promised)} earlier secrets of {endpoint.name} still sign. Rotate again after "
            f"{local_time(promised[-1].until):%Y-%m-%d %H:%M}."
        )
    return [*present, *promised]


def _require_superuser(actor: Actor) -> None:
    # A plain name is that of a command: anyone who can run commands on this machine may do everything anyway.
    if not isinstance(actor, str) and not actor.user.is_superuser:
        raise PermissionDenied("Only a superuser may disable the verification of certificates.")


def _assign(endpoint: WebhookEndpoint, values: Mapping[str, Any]) -> list[str]:
    """Validates the values and sets them on `endpoint`; returns the changed columns."""
    if unknown := values.keys() - set(FIELDS):
        raise ValidationError(dict.fromkeys(sorted(unknown), "Unknown field."))
    url, given = _url_or_set(endpoint, values.get("url", SET)), values.get("settings", SET)
    columns = [name for name in (*PLAIN_FIELDS, *TLS_FIELDS) if name in values]
    for name in columns:
        setattr(endpoint, name, values[name])
    try:
        _check_transport(endpoint, endpoint.url if url == SET else url, given)
    except SecretUnreadableError as error:
        raise ValidationError({"url" if url == SET else "settings": f"Enter it again: {error}"}) from error
    if url != SET:
        endpoint.url = url
        columns.append("encrypted_url")
    if given != SET:
        endpoint.settings = _with_kept_secrets(endpoint, given)
        columns.append("encrypted_settings")
    endpoint.full_clean()
    if {"bundle_seconds", "format"} & values.keys():
        _check_bundle(endpoint)
    return columns


def _check_bundle(endpoint: WebhookEndpoint) -> None:
    transport = transports.get(endpoint.format)
    if endpoint.bundle_seconds > 0 and not transport.is_chat:
        raise ValidationError(
            {"bundle_seconds": f"{transport.label}: these messages cannot be bundled. Enter 0 seconds."}
        )


def _url_or_set(endpoint: WebhookEndpoint, url: Any) -> Any:
    if isinstance(url, str) and MASK in url:
        if not endpoint.encrypted_url or url != display_url(endpoint):
            raise ValidationError({"url": "This URL is masked. Enter the full URL."})
        return SET
    if url == SET and not endpoint.encrypted_url:
        raise ValidationError({"url": "A URL is required."})
    return url


def _check_transport(endpoint: WebhookEndpoint, url: Any, given: Any) -> None:
    """Raises ValidationError for an unknown format, invalid settings or an invalid URL."""
    try:
        transport = transports.get(endpoint.format)
    except transports.UnknownKindError as error:
        raise ValidationError({"format": str(error)}) from error
    if not isinstance(url, str) or not (given == SET or isinstance(given, Mapping)):
        raise ValidationError({"url" if not isinstance(url, str) else "settings": "Wrong type."})
    check_tls(endpoint)
    settings = endpoint.settings if given == SET else _with_kept_secrets(endpoint, given)
    try:
        transport.check(url, settings, Policy.from_settings())
    except SettingsError as error:
        raise ValidationError({"settings": str(error)}) from error
    except TemplateError as error:
        raise ValidationError({"settings": str(error)}) from error
    except RefusedError as error:
        raise ValidationError({"url": str(error)}) from error


def check_tls(endpoint: WebhookEndpoint) -> None:
    """Raises ValidationError if the (installed) format does not support TLS settings of the endpoint."""
    transport = transports.get(endpoint.format)
    if transport.uses_own_client and not (endpoint.verify_tls and not endpoint.ca_certificates):
        field = "ca_certificates" if endpoint.verify_tls else "verify_tls"
        raise ValidationError(
            {field: f"{transport.label} always verifies against the system's certificate authorities."}
        )


def _with_kept_secrets(endpoint: WebhookEndpoint, given: Mapping[str, Any]) -> dict[str, Any]:
    if SET not in given.values():  # then unreadable stored settings do not matter
        return dict(given)
    stored = endpoint.settings
    kept = {name: stored[name] for name, value in given.items() if value == SET and name in stored}
    return {**given, **kept}


def _ensure_secret(endpoint: WebhookEndpoint) -> str:
    """Creates a secret if the format signs and there is none. Returns it, or an empty text."""
    if not transports.get(endpoint.format).is_signed or endpoint.encrypted_secret:
        return ""
    endpoint.secret = secret = signing.new_secret()
    return secret


def _save(endpoint: WebhookEndpoint, created: bool, columns: list[str]) -> None:
    if created:
        endpoint.save(force_insert=True)
    else:
        # Only these columns: the worker may be writing the health columns now.
        endpoint.save(update_fields=columns)


def _reset_after_enable(endpoint: WebhookEndpoint, resume: bool | None) -> None:
    # Clear the health columns: otherwise one new failure could disable the endpoint again at once.
    pending = WebhookDelivery.objects.filter(endpoint=endpoint, state=State.PENDING).count()
    if pending and resume is None:
        raise ValidationError({"resume": f"Pending deliveries: {pending}. true sends them, false cancels them."})
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(
        connect_failures=0,
        paused_until=None,
        failing_since=None,
        failed_messages=0,
        disabled_reason="",
        last_error="",
        enabled_at=timezone.now(),
    )
    if resume:
        # Most are old by now: the person wants them anyway.
        WebhookDelivery.objects.filter(endpoint=endpoint, state=State.PENDING).update(age_from=timezone.now())
    else:
        _cancel_pending(endpoint, "the endpoint was disabled")
    ring_on_commit(writer.WAKEUP_CHANNEL)


def _cancel_pending(endpoint: WebhookEndpoint, reason: str) -> int:
    pending = WebhookDelivery.objects.filter(endpoint=endpoint, state=State.PENDING)
    return pending.update(state=State.CANCELLED, finished_at=timezone.now(), next_attempt_at=None, reason=reason)


def remove_endpoint(endpoint: WebhookEndpoint, *, actor: Actor) -> None:
    with transaction.atomic():
        Sequence.advance()
        name = endpoint.name
        endpoint.delete()
        writer.invalidate_routes()
        audit(actor, "webhook.removed", name)


def disable_endpoint(
    endpoint: WebhookEndpoint, *, reason: str, cancel_pending: bool, actor: Actor = SYSTEM_ACTOR
) -> None:
    """Records `webhook.disabled`, which other endpoints may get, unless it was disabled already."""
    with transaction.atomic():
        columns = {"enabled": False, "disabled_reason": reason, "revision": Sequence.advance()}
        # Conditional: two workers can decide this at the same time.
        if not WebhookEndpoint.objects.filter(pk=endpoint.pk, enabled=True).update(**columns):
            return
        if cancel_pending:
            _cancel_pending(endpoint, reason)
        writer.invalidate_routes()
        events.record("webhook.disabled", actor=name_of(actor), data={"webhook": endpoint.name, "reason": reason})
        audit(actor, "webhook.disabled", endpoint.name, data={"reason": reason})


def rotate_secret(endpoint: WebhookEndpoint, *, actor: Actor) -> str:
    """Returns the new secret in clear. For 24 hours messages are signed with the old one too.

    Raises ConflictError if the format does not sign, the endpoint was removed, or too many old secrets still sign.
    """
    if not transports.get(endpoint.format).is_signed:
        raise ConflictError(
            f"{endpoint.name} has no secret: messages in the format {endpoint.format} are not signed."
        )
    with transaction.atomic():
        endpoint.revision = Sequence.advance()
        _refresh_secrets(endpoint)
        secret = signing.new_secret()
        endpoint.old_secrets = _promised_secrets(endpoint, timezone.now())
        endpoint.secret = secret
        endpoint.save(update_fields=["encrypted_secret", "encrypted_old_secret", "old_secret_until", "revision"])
        audit(actor, "webhook.secret_rotated", endpoint.name)
    return secret
