"""Facts. `record` writes one inside the transaction of the change it tells of, and announces it there."""

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

from . import definition
from .models import Program, ProgramEvent

# Sent inside the writing transaction with `event=ProgramEvent`; a receiver that raises undoes the change.
event_recorded = Signal()

# All that is recorded, save `webhook.test`, which is for the tested endpoint alone.
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
    """Writes the event and tells the other apps, all in the caller's transaction. Masks secrets in `data`.

    Its type decides how severe it is, unless `severity` does. `program_name` is that of a program that is gone.
    Raises TransactionManagementError outside a transaction: an event must not outlive a rolled-back change.
    """
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("events are recorded inside atomic()")
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
        text = definition.secret_mask(program).apply(str(data["text"]), starts_cut=True, ends_cut=True)
        data = {**data, "text": text}
    # Most events have no text, and decrypting costs more than the rest.
    mask = _readable_mask(program) if has_text(data) else NO_SECRETS
    masked: dict[str, Any] = mask_texts(data, mask.apply)
    return masked


def _readable_mask(program: Program | None) -> SecretMask:
    """Masks nothing if the secrets cannot be decrypted: the agent's own texts have to report that."""
    mask = definition.secret_mask(program) if program else NO_SECRETS
    return NO_SECRETS if isinstance(mask, HideAll) else mask


def weight(event: ProgramEvent) -> str:
    """How severe it is for those who want to hear of severe events only: an end is as much as what it ends."""
    return str(event.data.get("ended_severity", event.severity))


def as_json(event: ProgramEvent) -> dict[str, Any]:
    """The event as the API, the websocket and webhooks show it. `program` is None for the monitor's own."""
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
