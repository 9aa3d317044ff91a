"""Writes incidents: log lines, metrics and changes before a crash.

Runs in the agent's writer thread, in the transaction of the event.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from .definition.environment import secret_mask
from .logs.paths import LogFile
from .logs.search import last_lines
from .models import Incident, Program, ProgramEvent, ProgramRevision

LAST_LINES = 40
LAST_BYTES = 64 * 1024
CHANGES_WITHIN = timedelta(hours=1)

# Other apps add functions that return a JSON object: (program id, process index, event).
metrics_before: list[Callable[[int, int, ProgramEvent], dict[str, Any]]] = []


def write_incident(event: ProgramEvent, facts: dict[str, Any]) -> Incident:
    """For a `program.crashed` event. `facts` come from the agent (see `ManagedProcess`)."""
    index = event.process_index or 0
    lines = _last_lines(event.program, index, facts.get("log_end"))
    return Incident.objects.create(
        event=event,
        program=event.program,
        program_name=event.program_name,
        process_index=index,
        timestamp=event.timestamp,
        exit_code=facts["exit_code"],
        exit_signal=facts["exit_signal"],
        meaning=facts["meaning"][:300],
        out_of_memory=facts.get("out_of_memory", False),
        uptime_seconds=facts["uptime_seconds"],
        log_lines=lines,
        metrics_before=_metrics(event, index),
        changes_before=_changes(event),
        fingerprint=fingerprint(event.program_name, facts, lines),
    )


def _last_lines(program: Program | None, index: int, end: int | None) -> list[str]:
    if program is None:
        return []
    log = LogFile(Path(settings.LOG_DIR) / str(program.pk), index)
    # Incidents are stored and sent to webhooks, so they must not contain secrets.
    mask = secret_mask(program)
    return [line["text"] for line in last_lines(log, LAST_LINES, LAST_BYTES, end=end, mask=mask)]


def _metrics(event: ProgramEvent, index: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for source in metrics_before if event.program_id else ():
        found |= source(event.program_id or 0, index, event)
    return found


def _changes(event: ProgramEvent) -> list[dict[str, Any]]:
    since = event.timestamp - CHANGES_WITHIN
    revisions = ProgramRevision.objects.filter(program=event.program_id, at__gte=since, number__gt=1)[:10]
    return [
        {"number": r.number, "actor": r.actor, "at": r.at.isoformat(), "changes": r.changes} for r in revisions
    ]


def fingerprint(name: str, facts: dict[str, Any], lines: list[str]) -> str:
    """Equal for similar incidents: same program, exit and last log line."""
    # Without numbers, because ports, pids and addresses differ between otherwise equal lines.
    last = re.sub(r"\d+|0x[0-9a-fA-F]+", "#", lines[-1]) if lines else ""
    kind = f"{name}|{facts['exit_code']}|{facts['exit_signal']}|{last}"
    return hashlib.sha256(kind.encode()).hexdigest()[:32]
