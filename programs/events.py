"""Facts. `record` writes one inside the transaction of the change it tells of, and announces it there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone

from core.doorbell import ring_on_commit
from core.models import Sequence
from core.timeformat import iso

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
    """Writes the event and tells the other apps, all in the caller's transaction.

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
        data=data or {},
    )
    if uid:
        event.uid = uid
    event.save(force_insert=True)
    event_recorded.send(sender=ProgramEvent, event=event)
    ring_on_commit("web")
    return event


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
