"""Pages of the list of programs, each with its status.

The database sorts by name and id, so only the statuses of one page are read. Sorting by a live value, or filtering
by state, reads the statuses of all programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import BooleanField, F, Func, Prefetch, Q, QuerySet, Value

from core.rest.lists import sort_by
from programs import status as live
from programs.models import Dependency, Program
from programs.payloads import ProgramStatus
from programs.schemas import ProgramListing
from programs.status import HostState

STORED = frozenset({"id", "name"})
Shown = list[tuple[Program, ProgramStatus]]


class HasTag(Func):
    """Whether a JSON list contains a text. Django's `contains` doesn't support SQLite."""

    output_field = BooleanField()

    def __init__(self, column: str, tag: str) -> None:
        super().__init__(F(column), Value(tag))

    def as_sqlite(self, compiler: Any, connection: Any, **extra_context: Any) -> Any:
        template = "EXISTS (SELECT 1 FROM json_each(%(expressions)s)"
        return self.as_sql(compiler, connection, template=template, arg_joiner=") WHERE value = ")

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        joiner = " @> jsonb_build_array("
        return self.as_sql(compiler, connection, template="%(expressions)s::text)", arg_joiner=joiner)


def programs_with_relations() -> QuerySet[Program]:
    """Loads what `definition_json` reads, in two queries."""
    dependencies = Prefetch("dependencies", Dependency.objects.select_related("requires"))
    return Program.objects.select_related("host").prefetch_related(dependencies)


def program_page(listing: ProgramListing, columns: Sequence[str]) -> tuple[Shown, int]:
    """The programs of the page in the order of `columns`, and the count of all pages.

    At most six queries. Leaves out programs that are removed between them.
    """
    seen, matching = live.pulse(), _filtered(listing)
    if listing.host:
        matching = matching.filter(_of_host(listing.host, seen))
    is_stored = {column.removeprefix("-") for column in columns} <= STORED
    if is_stored and listing.state is None:
        return _in_stored_order(listing, matching.order_by(*columns, "id"), seen)
    return _in_live_order(listing, matching, columns, seen)


def _filtered(listing: ProgramListing) -> QuerySet[Program]:
    found = programs_with_relations()
    if listing.search:
        columns = ("name", "description", "command")
        matches = [Q(**{f"{column}__icontains": listing.search}) for column in columns]
        found = found.filter(matches[0] | matches[1] | matches[2])
    return found.filter(HasTag("tags", listing.tag)) if listing.tag else found


def _of_host(name: str, seen: HostState) -> Q:
    ids = [pk for pk, known in seen.names.items() if known == name]
    return Q(host__in=ids) | Q(host=None) if seen.default in ids else Q(host__in=ids)


def _in_stored_order(listing: ProgramListing, matching: QuerySet[Program], seen: HostState) -> tuple[Shown, int]:
    programs, count = listing.rows(matching)
    # One may be removed between the two queries.
    statuses = {status["id"]: status for status in live.chosen_programs(seen, [one.pk for one in programs])}
    return [(one, statuses[one.pk]) for one in programs if one.pk in statuses], count


def _in_live_order(
    listing: ProgramListing, matching: QuerySet[Program], columns: Sequence[str], seen: HostState
) -> tuple[Shown, int]:
    statuses = live.every_program(seen)
    if listing.search or listing.tag or listing.host:
        ids = set(matching.values_list("pk", flat=True))
        statuses = [status for status in statuses if status["id"] in ids]
    if listing.state is not None:
        statuses = [status for status in statuses if status["state"] == listing.state]
    shown = sort_by(statuses, columns)[listing.slice]
    programs = programs_with_relations().in_bulk([status["id"] for status in shown])
    return [(programs[status["id"]], status) for status in shown if status["id"] in programs], len(statuses)
