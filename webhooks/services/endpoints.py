"""Making, changing, removing and switching endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.utils import timezone

from core.access.audit import audit
from core.change_lock import lock_changes
from core.doorbell import ring_on_commit
from core.exceptions import ConflictError
from core.http import Policy, RefusedError
from core.masking import MASK
from core.models import Sequence, number_on_commit
from core.secrets import SecretUnreadableError
from programs import events
from programs.models import Program
from webhooks import transports, validation
from webhooks.delivery import signing
from webhooks.models import WebhookDelivery, WebhookEndpoint
from webhooks.outbox import writer
from webhooks.placeholders import TemplateError
from webhooks.serializers import shown_url
from webhooks.transports.base import SettingsError

from .actors import SENDER, Actor, name_of

State = WebhookDelivery.State
OLD_SECRET_FOR = timedelta(hours=24)
SET = {"set": True}

PLAIN_FIELDS = (
    "name", "format", "enabled", "events", "programs", "tags", "min_severity", "conditions", "retry_schedule",
    "timeout_seconds", "max_concurrency", "rate_per_second", "bundle_seconds", "max_age_seconds",
)  # fmt: skip
TLS_FIELDS = ("verify_tls", "ca_certificates")
FIELDS = (*PLAIN_FIELDS, *TLS_FIELDS, "url", "settings")
ENCRYPTED = ("encrypted_url", "encrypted_settings", "encrypted_secret", "encrypted_old_secret")


@dataclass(frozen=True)
class Saved:
    """`secret` is in clear once, when it has just been made; empty otherwise."""

    endpoint: WebhookEndpoint
    secret: str = ""


def save_endpoint(
    values: Mapping[str, Any],
    *,
    actor: Actor,
    endpoint: WebhookEndpoint | None = None,
    resume: bool | None = False,
) -> Saved:
    """Creates an endpoint, or changes the given FIELDS of `endpoint`. Raises ValidationError with field names.

    `{"set": true}`, or the masked URL as it is shown, keeps the stored URL, and in `settings` the stored value of
    a secret. An endpoint switched on again gets what was pending when it went off only with `resume`; without,
    that is cancelled, and with None it must be decided first. Raises PermissionDenied when somebody who is no
    superuser stops verifying certificates, ConflictError for an endpoint that was removed.
    """
    with transaction.atomic():
        lock_changes()
        revision = Sequence.advance()
        created = endpoint is None
        subject = endpoint or WebhookEndpoint()
        before = None if created else _as_stored(subject)
        _check_programs(values, before.programs if before else [])
        _check_events(values, before.events if before else [])
        changed = _assign(subject, values)
        if not subject.verify_tls and (before is None or before.verify_tls):
            _require_superuser(actor)
        secret = _first_secret(subject)
        subject.revision = revision
        _save(subject, created, [*changed, "revision", *(["encrypted_secret"] if secret else [])])
        if before and subject.enabled and not before.enabled:
            _switched_on(subject, resume)
        number_on_commit(subject)
        writer.forget()
        action = "webhook.created" if created else "webhook.changed"
        audit(actor, action, subject.name, data={"fields": sorted(values), "format": subject.format})
    return Saved(subject, secret)


def _as_stored(endpoint: WebhookEndpoint) -> WebhookEndpoint:
    """As it is now, changes being locked. `endpoint` gets the secrets of this moment: those that are kept are
    these. Raises ConflictError."""
    stored = WebhookEndpoint.objects.filter(pk=endpoint.pk).first()
    if stored is None:
        raise ConflictError(f"{endpoint.name} was removed.")
    for name in ENCRYPTED:
        setattr(endpoint, name, getattr(stored, name))
    return stored


def _check_programs(values: Mapping[str, Any], known: list[int]) -> None:
    """Those that were removed since may stay; new ones must be there."""
    given = values.get("programs", [])
    new = {each for each in given if type(each) is int} - set(known) if isinstance(given, list) else set()
    if new and (gone := new - set(Program.objects.filter(pk__in=new).values_list("pk", flat=True))):
        raise ValidationError({"programs": f"There is no program {min(gone)}."})


def _check_events(values: Mapping[str, Any], known: list[str]) -> None:
    try:
        validation.known_events(values.get("events"), known)
    except ValidationError as error:
        raise ValidationError({"events": error.messages}) from error


def _require_superuser(actor: Actor) -> None:
    """A name is a command's: whoever types commands on this machine may do everything anyway."""
    if not isinstance(actor, str) and not actor.user.is_superuser:
        raise PermissionDenied("Only a superuser may switch off the verification of certificates.")


def _assign(endpoint: WebhookEndpoint, values: Mapping[str, Any]) -> list[str]:
    """Puts the values on `endpoint`, checked; returns the columns that were given."""
    if unknown := values.keys() - set(FIELDS):
        raise ValidationError(dict.fromkeys(sorted(unknown), "There is no such field."))
    url, given = _kept_or_new(endpoint, values.get("url", SET)), values.get("settings", SET)
    columns = [name for name in (*PLAIN_FIELDS, *TLS_FIELDS) if name in values]
    for name in columns:
        setattr(endpoint, name, values[name])
    try:
        _check_transport(endpoint, endpoint.url if url == SET else url, given)
    except SecretUnreadableError as error:
        raise ValidationError({"url" if url == SET else "settings": f"Give it anew: {error}"}) from error
    if url != SET:
        endpoint.url = url
        columns.append("encrypted_url")
    if given != SET:
        endpoint.settings = _with_kept_secrets(endpoint, given)
        columns.append("encrypted_settings")
    endpoint.full_clean()
    return columns


def _kept_or_new(endpoint: WebhookEndpoint, url: Any) -> Any:
    """SET when the stored address is to stay. Raises ValidationError when there is none to keep."""
    if isinstance(url, str) and MASK in url:
        if not endpoint.encrypted_url or url != shown_url(endpoint):
            raise ValidationError({"url": "This address is blanked out; write it in full."})
        return SET
    if url == SET and not endpoint.encrypted_url:
        raise ValidationError({"url": "An address is needed."})
    return url


def _check_transport(endpoint: WebhookEndpoint, url: Any, given: Any) -> None:
    """Raises ValidationError for an unknown format, settings that do not fit it, or an address it cannot use."""
    try:
        transport = transports.get(endpoint.format)
    except transports.UnknownKindError as error:
        raise ValidationError({"format": str(error)}) from error
    if not isinstance(url, str) or not (given == SET or isinstance(given, Mapping)):
        raise ValidationError({"url" if not isinstance(url, str) else "settings": "This has the wrong type."})
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
    """Raises ValidationError when the format, which must be there, has no use for certificates of one's own."""
    transport = transports.get(endpoint.format)
    if transport.dials_itself and not (endpoint.verify_tls and not endpoint.ca_certificates):
        field = "ca_certificates" if endpoint.verify_tls else "verify_tls"
        raise ValidationError({field: f"{transport.label} verifies against the system's authorities alone."})


def _with_kept_secrets(endpoint: WebhookEndpoint, given: Mapping[str, Any]) -> dict[str, Any]:
    if SET not in given.values():  # nor need what is stored be readable then
        return dict(given)
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


def _switched_on(endpoint: WebhookEndpoint, resume: bool | None) -> None:
    """With a clean slate: old failures are no reason to switch it off again at the first new one."""
    pending = WebhookDelivery.objects.filter(endpoint=endpoint, state=State.PENDING).count()
    if pending and resume is None:
        raise ValidationError(
            {"resume": f"Waiting since it was off: {pending}. true sends these deliveries, false cancels them."}
        )
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
    ring_on_commit(writer.BELL)


def _cancel_pending(endpoint: WebhookEndpoint, reason: str) -> int:
    pending = WebhookDelivery.objects.filter(endpoint=endpoint, state=State.PENDING)
    return pending.update(state=State.CANCELLED, finished_at=timezone.now(), next_attempt_at=None, reason=reason)


def remove_endpoint(endpoint: WebhookEndpoint, *, actor: Actor) -> None:
    """With its deliveries and their attempts."""
    with transaction.atomic():
        lock_changes()
        name = endpoint.name
        endpoint.delete()
        writer.forget()
        audit(actor, "webhook.removed", name)


def switch_off(endpoint: WebhookEndpoint, *, reason: str, cancel_pending: bool, actor: Actor = SENDER) -> None:
    """Nothing is sent there any more. Tells the other endpoints, unless it was off already."""
    with transaction.atomic():
        columns = {"enabled": False, "disabled_reason": reason, "revision": Sequence.advance()}
        if not WebhookEndpoint.objects.filter(pk=endpoint.pk, enabled=True).update(**columns):
            return
        if cancel_pending:
            _cancel_pending(endpoint, reason)
        writer.forget()
        events.record("webhook.disabled", actor=name_of(actor), data={"webhook": endpoint.name, "reason": reason})
        audit(actor, "webhook.disabled", endpoint.name, data={"reason": reason})


def rotate_secret(endpoint: WebhookEndpoint, *, actor: Actor) -> str:
    """The new secret, in clear this once. For a day everything is signed with the old one as well.

    Raises ConflictError when messages of its format are not signed, or it was removed.
    """
    if not transports.get(endpoint.format).is_signed:
        raise ConflictError(
            f"{endpoint.name} has no secret: messages of the format {endpoint.format} bear no signature."
        )
    with transaction.atomic():
        lock_changes()
        endpoint.revision = Sequence.advance()
        number_on_commit(endpoint)
        _as_stored(endpoint)
        secret = signing.new_secret()
        endpoint.encrypted_old_secret = endpoint.encrypted_secret
        endpoint.old_secret_until = timezone.now() + OLD_SECRET_FOR
        endpoint.secret = secret
        endpoint.save(update_fields=["encrypted_secret", "encrypted_old_secret", "old_secret_until", "revision"])
        audit(actor, "webhook.secret_rotated", endpoint.name)
    return secret
