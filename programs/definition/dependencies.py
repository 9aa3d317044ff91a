"""The dependencies of a program: other programs of its host that must be started, or healthy, first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from programs.models import Dependency, Host, Program

from .values import DependencyEntry


def assign_dependencies(program: Program, wanted: Iterable[Any]) -> None:
    """Replaces the dependencies of the saved `program`. Raises ValidationError: unknown name, itself, a circle."""
    try:
        rows = [_row(program, DependencyEntry.from_json(entry)) for entry in wanted]
        if len({row.requires_id for row in rows}) != len(rows):
            raise ValidationError("A program is listed twice.")
        check_no_circle(program.name, _requirements(program, rows))
    except ValidationError as error:
        raise ValidationError({"depends_on": error.messages}) from error
    program.dependencies.all().delete()
    Dependency.objects.bulk_create(rows)


def _row(program: Program, entry: DependencyEntry) -> Dependency:
    requires = Program.objects.filter(name=entry.program).first()
    if requires is None:
        raise ValidationError(f"There is no program {entry.program}.")
    default = Host.objects.filter(is_default=True).values_list("pk", flat=True).first()
    if (requires.host_id or default) != (program.host_id or default):
        raise ValidationError(f"{requires.name} runs on another host; an agent sees only its own programs.")
    return Dependency(program=program, requires=requires, condition=entry.condition)


def _requirements(program: Program, rows: Iterable[Dependency]) -> dict[str, set[str]]:
    others = Dependency.objects.exclude(program=program).select_related("program", "requires")
    requires: dict[str, set[str]] = {}
    for row in [*others, *rows]:
        requires.setdefault(row.program.name, set()).add(row.requires.name)
    return requires


def check_no_circle(program_name: str, requires: dict[str, set[str]]) -> None:
    """Refuses a dependency circle. `requires`: each program's name → those it needs, the new ones included."""
    # A loop that visits each program once: recursion would fail on long chains, and many paths may meet.
    needed_by: dict[str, str] = {}
    left = [program_name]
    while left:
        current = left.pop()
        for needed in sorted(requires.get(current, ()), reverse=True):
            if needed == program_name:
                circle = [*_path_to(current, needed_by), needed]
                raise ValidationError(f"Circular dependency: {' needs '.join(circle)}.")
            if needed not in needed_by:
                needed_by[needed] = current
                left.append(needed)


def _path_to(last: str, needed_by: Mapping[str, str]) -> list[str]:
    path = [last]
    while path[-1] in needed_by:
        path.append(needed_by[path[-1]])
    return path[::-1]
