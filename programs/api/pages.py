"""A page of the list of programs, each with its status.

Where the database can put programs in order, only those of the page are put together. An order by what they do, or
a state that is asked for, needs to know what every one of them does.
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
    """Whether a list in JSON holds this text: `contains`, which Django does not have for SQLite."""

    output_field = BooleanField()

    def __init__(self, column: str, tag: str) -> None:
        super().__init__(F(column), Value(tag))

    def as_sqlite(self, compiler: Any, connection: Any, **extra_context: Any) -> Any:
        template = "EXISTS (SELECT 1 FROM json_each(%(expressions)s)"
        return self.as_sql(compiler, connection, template=template, arg_joiner=") WHERE value = ")

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        joiner = " @> jsonb_build_array("
        return self.as_sql(compiler, connection, template="%(expressions)s::text)", arg_joiner=joiner)


def whole() -> QuerySet[Program]:
    """Programs with all that their definition tells, in two queries."""
    dependencies = Prefetch("dependencies", Dependency.objects.select_related("requires"))
    return Program.objects.select_related("host").prefetch_related(dependencies)


def page(listing: ProgramListing, columns: Sequence[str]) -> tuple[Shown, int]:
    """The programs of the page in the order of `columns`, and how many there are in all.

    Six queries at most, however many that are. What is removed while they are asked is left out.
    """
    seen, wanted = live.read_host_state(), _wanted(listing)
    if listing.host:
        wanted = wanted.filter(_of_host(listing.host, seen))
    is_stored = {column.removeprefix("-") for column in columns} <= STORED
    if is_stored and listing.state is None:
        return _in_stored_order(listing, wanted.order_by(*columns, "id"), seen)
    return _in_live_order(listing, wanted, columns, seen)


def _wanted(listing: ProgramListing) -> QuerySet[Program]:
    """By what the definition says: text and tag."""
    found = whole()
    if listing.search:
        columns = ("name", "description", "command")
        matches = [Q(**{f"{column}__icontains": listing.search}) for column in columns]
        found = found.filter(matches[0] | matches[1] | matches[2])
    return found.filter(HasTag("tags", listing.tag)) if listing.tag else found


def _of_host(name: str, seen: HostState) -> Q:
    """Programs that name no host belong to the default one."""
    ids = [pk for pk, known in seen.names.items() if known == name]
    return Q(host__in=ids) | Q(host=None) if seen.default in ids else Q(host__in=ids)


def _in_stored_order(listing: ProgramListing, wanted: QuerySet[Program], seen: HostState) -> tuple[Shown, int]:
    programs, count = listing.rows(wanted)
    statuses = {status["id"]: status for status in live.programs_by_id(seen, [one.pk for one in programs])}
    return [(one, statuses[one.pk]) for one in programs if one.pk in statuses], count


def _in_live_order(
    listing: ProgramListing, wanted: QuerySet[Program], columns: Sequence[str], seen: HostState
) -> tuple[Shown, int]:
    statuses = live.all_programs(seen)
    if listing.search or listing.tag or listing.host:
        ids = set(wanted.values_list("pk", flat=True))
        statuses = [status for status in statuses if status["id"] in ids]
    if listing.state is not None:
        statuses = [status for status in statuses if status["state"] == listing.state]
    shown = sort_by(statuses, columns)[listing.slice]
    programs = whole().in_bulk([status["id"] for status in shown])
    return [(programs[status["id"]], status) for status in shown if status["id"] in programs], len(statuses)
