"""Creates and updates programs from imported definitions, dependencies first, all or none."""

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
    """`outcome`: `created`, `updated`, `unchanged` or `error`. `applies`: changed field → `live` or `restart`."""

    name: str
    outcome: str
    applies: Mapping[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def text(self) -> str:
        if self.outcome != "updated":
            return self.outcome
        waiting = [name for name, when in self.applies.items() if when == "restart"]
        later = f"; {', '.join(waiting)} after the next restart" if waiting else ""
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


def import_definitions(found: Imported, *, update: bool, dry_run: bool, actor: str) -> Report:
    """Creates the programs and, with `update`, replaces the definitions of existing ones. One error undoes all.

    Fields that the file leaves out get their defaults, on an update too. Raises FailedError for a circular
    dependency within the file.
    """
    report = Report(notes=list(found.notes), dry_run=dry_run)
    with transaction.atomic():
        for definition in in_order(found.definitions):
            report.results.append(_save(definition, report.failed, update=update, actor=actor))
        if dry_run or report.failed:
            transaction.set_rollback(True)
    return report


def in_order(definitions: Sequence[Definition]) -> list[Definition]:
    """Dependencies before dependents. Raises FailedError for a circular dependency."""
    by_name = {definition["name"]: definition for definition in definitions}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, definition in by_name.items():
        sorter.add(name, *(needed for needed in _needs(definition) if needed in by_name))
    try:
        return [by_name[name] for name in sorter.static_order()]
    except CycleError as error:
        circle = " needs ".join(reversed(error.args[1]))
        raise FailedError(f"The file contains a circular dependency: {circle}.") from error


def _needs(definition: Definition) -> list[str]:
    return [entry["program"] for entry in definition.get("depends_on", [])]


def _save(definition: Definition, failed: Collection[str], *, update: bool, actor: str) -> Result:
    name = definition["name"]
    program = Program.objects.prefetch_related("dependencies__requires").filter(name=name).first()
    if program and not update:
        return Result(name, "error", errors=["already exists. Use --update to change it."])
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
