"""Audit rows of programs, written by `services`, so that API, command line and admin leave the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.access.audit import entry
from core.access.login import client_address
from core.log_context import current_request
from core.models import AuditEntry

from .definition.conversion import definition_json
from .models import Program


def record_created(program: Program, actor: str) -> None:
    _row(program, actor, "created", {"definition": definition_json(program)}).save()


def record_updated(program: Program, actor: str, changes: Mapping[str, list[Any]]) -> None:
    """`changes`: field → [before, after], see `conversion.differences`."""
    _row(program, actor, "updated", {"changes": changes}).save()


def record_removed(program: Program, actor: str) -> None:
    """Keeps the last definition: the revisions are deleted with the program."""
    stored = Program.objects.select_related("host").prefetch_related("dependencies__requires").get(pk=program.pk)
    _row(stored, actor, "removed", {"definition": definition_json(stored)}).save()


def record_refused(program: Program, actor: str, action: str, reason: str) -> None:
    _row(program, actor, action, {"reason": reason}, outcome="refused").save()


def record_actions(
    programs: Iterable[Program], actor: str, action: str, refusals: Mapping[int, str | None]
) -> None:
    """`refusals`: program id → why it was refused, or None. One query: a person can stop thousands at once."""
    rows = []
    for program in programs:
        reason = refusals[program.pk]
        data = {"reason": reason} if reason else {}
        rows.append(_row(program, actor, action, data, outcome="refused" if reason else "done"))
    AuditEntry.objects.bulk_create(rows, batch_size=500)


def _row(
    program: Program, actor: str, action: str, data: Mapping[str, Any], *, outcome: str = "done"
) -> AuditEntry:
    return entry(
        actor,
        f"program.{action}",
        program.name,
        outcome=outcome,
        address=client_address(current_request.get()),
        data={"id": program.pk, **data},
    )
