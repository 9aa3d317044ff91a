"""Pages of the program list with statuses.

If the database can sort, only the statuses of one page are built. Sorting or filtering by status needs the
statuses of all programs.
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

DATABASE_COLUMNS = frozenset({"id", "name"})
Rows = list[tuple[Program, ProgramStatus]]


class HasTag(Func):
    """Whether a JSON list contains this text. Django has no `contains` lookup for SQLite."""

    output_field = BooleanField()

    def __init__(self, column: str, tag: str) -> None:
        super().__init__(F(column), Value(tag))

    def as_sqlite(self, compiler: Any, connection: Any, **extra_context: Any) -> Any:
        template = "EXISTS (SELECT 1 FROM json_each(%(expressions)s)"
        return self.as_sql(compiler, connection, template=template, arg_joiner=") WHERE value = ")

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        joiner = " @> jsonb_build_array("
        return self.as_sql(compiler, connection, template="%(expressions)s::text)", arg_joiner=joiner)


def with_dependencies() -> QuerySet[Program]:
    dependencies = Prefetch("dependencies", Dependency.objects.select_related("requires"))
    return Program.objects.select_related("host").prefetch_related(dependencies)


def page(listing: ProgramListing, columns: Sequence[str]) -> tuple[Rows, int]:
    """The programs of the page sorted by `columns`, and their total number. At most six queries."""
    hosts, queryset = live.read_host_state(), _filtered(listing)
    if listing.host:
        queryset = queryset.filter(_on_host(listing.host, hosts))
    is_stored = {column.removeprefix("-") for column in columns} <= DATABASE_COLUMNS
    if is_stored and listing.state is None:
        return _database_order(listing, queryset.order_by(*columns, "id"), hosts)
    return _status_order(listing, queryset, columns, hosts)


def _filtered(listing: ProgramListing) -> QuerySet[Program]:
    found = with_dependencies()
    if listing.search:
        columns = ("name", "description", "command")
        matches = [Q(**{f"{column}__icontains": listing.search}) for column in columns]
        found = found.filter(matches[0] | matches[1] | matches[2])
    return found.filter(HasTag("tags", listing.tag)) if listing.tag else found


def _on_host(name: str, hosts: HostState) -> Q:
    # Programs without a host belong to the default host.
    ids = [pk for pk, known in hosts.names.items() if known == name]
    return Q(host__in=ids) | Q(host=None) if hosts.default in ids else Q(host__in=ids)


def _database_order(listing: ProgramListing, queryset: QuerySet[Program], hosts: HostState) -> tuple[Rows, int]:
    programs, count = listing.rows(queryset)
    # A program may be removed between the two queries.
    statuses = {status["id"]: status for status in live.programs_by_id(hosts, [one.pk for one in programs])}
    return [(one, statuses[one.pk]) for one in programs if one.pk in statuses], count


def _status_order(
    listing: ProgramListing, queryset: QuerySet[Program], columns: Sequence[str], hosts: HostState
) -> tuple[Rows, int]:
    statuses = live.all_programs(hosts)
    if listing.search or listing.tag or listing.host:
        ids = set(queryset.values_list("pk", flat=True))
        statuses = [status for status in statuses if status["id"] in ids]
    if listing.state is not None:
        statuses = [status for status in statuses if status["state"] == listing.state]
    page_statuses = sort_by(statuses, columns)[listing.slice]
    programs = with_dependencies().in_bulk([status["id"] for status in page_statuses])
    found = [(programs[status["id"]], status) for status in page_statuses if status["id"] in programs]
    return found, len(statuses)
