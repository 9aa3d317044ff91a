"""Brings the definitions of a file into the database: in the order of their dependencies, all or none."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from core.cli.command import validation_lines
from core.cli.exit_codes import FailedError
from programs import services
from programs.definition.fields import defaults
from programs.formats import Imported, Note
from programs.models import Program

Definition = Mapping[str, Any]


@dataclass
class Result:
    """What became of one definition: `created`, `updated` or `unchanged`, or `error` with the reasons.

    `applies` says for each changed field whether that is `live` or waits for a `restart`.
    """

    name: str
    outcome: str
    applies: Mapping[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def text(self) -> str:
        waiting = [name for name, when in self.applies.items() if when == "restart"]
        if self.outcome != "updated":
            return self.outcome
        later = f"; {', '.join(waiting)} after its next restart" if waiting else ""
        return f"updated ({', '.join(self.applies)}){later}"


@dataclass
class Report:
    results: list[Result] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    dry_run: bool = False

    @property
    def failed(self) -> set[str]:
        return {result.name for result in self.results if result.errors}

    def as_json(self) -> dict[str, Any]:
        return {
            "imported": not self.dry_run and not self.failed,
            "programs": [vars(result) for result in self.results],
            "notes": [{"program": note.program or None, "message": note.message} for note in self.notes],
        }


def bring_in(found: Imported, *, update: bool, dry_run: bool, actor: str) -> Report:
    """Creates the programs of a file and, with `update`, changes those that are there. One error keeps all out.

    The file says everything: on an update, fields that it leaves out go back to their defaults. Raises
    FailedError for a circle of dependencies within the file.
    """
    report = Report(notes=list(found.notes), dry_run=dry_run)
    with transaction.atomic():
        for definition in in_order(found.definitions):
            report.results.append(_save(definition, report.failed, update=update, actor=actor))
        if dry_run or report.failed:
            transaction.set_rollback(True)
    return report


def in_order(definitions: Sequence[Definition]) -> list[Definition]:
    """What others in the file need comes before them. Raises FailedError for a circle."""
    by_name = {definition["name"]: definition for definition in definitions}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, definition in by_name.items():
        sorter.add(name, *(needed for needed in _needs(definition) if needed in by_name))
    try:
        return [by_name[name] for name in sorter.static_order()]
    except CycleError as error:
        circle = " needs ".join(reversed(error.args[1]))
        raise FailedError(f"The file holds a circle of dependencies: {circle}.") from error


def _needs(definition: Definition) -> list[str]:
    return [entry["program"] for entry in definition.get("depends_on", [])]


def _save(definition: Definition, failed: Collection[str], *, update: bool, actor: str) -> Result:
    name = definition["name"]
    program = Program.objects.prefetch_related("dependencies__requires").filter(name=name).first()
    if program and not update:
        return Result(name, "error", errors=["is defined already; --update changes it"])
    if faulty := [needed for needed in _needs(definition) if needed in failed]:
        return Result(name, "error", errors=[f"depends_on: {', '.join(faulty)} could not be imported"])
    values = {**defaults(), **definition}
    try:
        saved = services.save_definition(values, actor=actor, program=program)
    except ValidationError as error:
        return Result(name, "error", errors=validation_lines(error))
    if program is None:
        return Result(name, "created")
    return Result(name, "updated" if saved.applies else "unchanged", saved.applies)
