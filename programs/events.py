"""Events. `record` writes one in the transaction of the change it describes, and announces it there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone

from core.doorbell import ring_on_commit
from core.masking import has_text, mask_text, mask_texts
from core.models import Sequence
from core.secret_mask import NO_SECRETS, HideAll, SecretMask
from core.timeformat import iso

from .definition.environment import secret_mask
from .models import Program, ProgramEvent

# Sent inside the transaction with `event=ProgramEvent`; a receiver that raises rolls the change back.
event_recorded = Signal()

# Without `webhook.test`, which is sent to the tested endpoint only and never recorded.
TYPES = (
    *(f"program.{verb}" for verb in ("created", "updated", "removed", "scaled", "input")),
    *(f"program.{verb}" for verb in ("started", "running", "restarted", "adopted")),
    *(f"program.{verb}" for verb in ("stopping", "stopped", "exited", "crashed", "backoff", "fatal")),
    *("program.healthy", "program.unhealthy", "alert.firing", "alert.resolved"),
    *("plugin.succeeded", "plugin.failed", "webhook.disabled", "agent.started", "agent.lost"),
)
Severity = ProgramEvent.Severity
SEVERITIES: dict[str, str] = {
    "program.backoff": Severity.WARNING,
    "program.crashed": Severity.ERROR,
    "program.fatal": Severity.ERROR,
    "program.unhealthy": Severity.WARNING,
    "alert.firing": Severity.WARNING,
    "plugin.failed": Severity.WARNING,
    "webhook.disabled": Severity.ERROR,
    "agent.lost": Severity.ERROR,
}
AGENT = "agent"


def record(
    type_: str,
    *,
    program: Program | None = None,
    program_name: str = "",
    process_index: int | None = None,
    actor: str = "",
    data: dict[str, Any] | None = None,
    at: datetime | None = None,
    uid: str | None = None,
    severity: str = "",
) -> ProgramEvent:
    """Writes the event and announces it to the other apps, all in the caller's transaction.

    Masks secrets in `data`. The severity follows from the type unless it is given. `program_name` is for a program
    that no longer exists. Raises TransactionManagementError outside a transaction.
    """
    # An event must not survive the rollback of its change.
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("record events inside atomic()")
    event = ProgramEvent(
        seq=Sequence.advance(),
        type=type_,
        severity=severity or SEVERITIES.get(type_, Severity.INFO),
        program=program,
        program_name=program.name if program else program_name,
        process_index=process_index,
        timestamp=at or timezone.now(),
        actor=actor,
        data=_masked(data or {}, program),
    )
    if uid:
        event.uid = uid
    event.save(force_insert=True)
    event_recorded.send(sender=ProgramEvent, event=event)
    ring_on_commit("web")
    return event


def masked_text(text: str, program: Program) -> str:
    return mask_text(_readable_mask(program).apply(text))


def _masked(data: dict[str, Any], program: Program | None) -> dict[str, Any]:
    """Here, because all that shows or sends an event gets its texts from the row."""
    if program and "text" in data:  # console input, where a person may type a secret in two parts
        text = secret_mask(program).apply(str(data["text"]), starts_cut=True, ends_cut=True)
        data = {**data, "text": text}
    # Most events have no text, and decrypting costs more than the rest.
    mask = _readable_mask(program) if has_text(data) else NO_SECRETS
    masked: dict[str, Any] = mask_texts(data, mask.apply)
    return masked


def _readable_mask(program: Program | None) -> SecretMask:
    """Masks nothing if the secrets cannot be decrypted: the agent's own texts have to report that."""
    mask = secret_mask(program) if program else NO_SECRETS
    return NO_SECRETS if isinstance(mask, HideAll) else mask


def weight(event: ProgramEvent) -> str:
    """The severity for filters: the event that ends an alert counts as much as the one that began it."""
    return str(event.data.get("ended_severity", event.severity))


def as_json(event: ProgramEvent) -> dict[str, Any]:
    """The event's JSON in the API, the websocket and webhooks. `program` is None for events of the monitor."""
    named = event.program_id is not None or event.program_name
    return {
        "id": event.uid,
        "seq": event.seq,
        "type": event.type,
        "severity": event.severity,
        "program": {"id": event.program_id, "name": event.program_name} if named else None,
        "process": event.process_index,
        "timestamp": iso(event.timestamp),
        "actor": event.actor,
        "data": event.data,
    }
