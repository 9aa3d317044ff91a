"""The columns of a usage row: how two rows become one, in memory and in the database."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db import connection

from .models import ResourceUsage, Usage


class Values(NamedTuple):
    """One row without its key, in the order of `RULES`; see the model for the units. `samples` is its `count`."""

    samples: int
    covered_ms: int
    cpu_ms: int
    cpu_min: int
    cpu_max: int
    cpu_last: int
    memory_sum: int
    memory_min: int
    memory_max: int
    memory_last: int
    threads_max: int
    open_files_max: int | None
    read_bytes: int | None
    write_bytes: int | None

    @property
    def cpu_average(self) -> float:
        """Hundredths of a percent."""
        return 10_000 * self.cpu_ms / self.covered_ms if self.covered_ms else 0.0


def _added(old: int | None, new: int | None) -> int | None:
    return new if old is None else old if new is None else old + new


def _higher(old: int | None, new: int | None) -> int | None:
    return new if old is None else old if new is None else max(old, new)


def _newer(old: int, new: int) -> int:
    return new


class Rule(NamedTuple):
    """How an earlier and a later value become one: in Python, and the same in SQL that every database speaks."""

    merge: Callable[..., int | None]
    sql: str


SUM = Rule(operator.add, "{old} + {new}")
MIN = Rule(min, "CASE WHEN {new} < {old} THEN {new} ELSE {old} END")
MAX = Rule(max, "CASE WHEN {new} > {old} THEN {new} ELSE {old} END")
LAST = Rule(_newer, "{new}")
SUM_IF_TOLD = Rule(_added, "COALESCE({old} + {new}, {old}, {new})")
MAX_IF_TOLD = Rule(_higher, "CASE WHEN {old} IS NULL OR {new} > {old} THEN {new} ELSE {old} END")

RULES = {
    "count": SUM,
    "covered_ms": SUM,
    "cpu_ms": SUM,
    "cpu_min": MIN,
    "cpu_max": MAX,
    "cpu_last": LAST,
    "memory_sum": SUM,
    "memory_min": MIN,
    "memory_max": MAX,
    "memory_last": LAST,
    "threads_max": MAX,
    "open_files_max": MAX_IF_TOLD,
    "read_bytes": SUM_IF_TOLD,
    "write_bytes": SUM_IF_TOLD,
}
KEY = ("period", "program_id", "timestamp")
HISTOGRAMS = ("cpu_histogram", "memory_histogram")
_MERGES = [rule.merge for rule in RULES.values()]
Row = tuple[int | bytes | None, ...]


def merged(earlier: Values, later: Values) -> Values:
    return Values._make([merge(old, new) for merge, old, new in zip(_MERGES, earlier, later, strict=True)])


# --- Into the database ----------------------------------------------------------------------------------


def add_to_points(period: int, timestamp: int, points: Mapping[int, Values]) -> None:
    """Makes the point of each program (by id), or adds to the one that is there."""
    rows = [(period, program, timestamp, *values) for program, values in points.items()]
    table = connection.ops.quote_name(ResourceUsage._meta.db_table)
    changes = {
        name: rule.sql.format(old=f"{table}.{name}", new=f"excluded.{name}") for name, rule in RULES.items()
    }
    _upsert(ResourceUsage, (*KEY, *RULES), changes, rows)


def replace_rows(model: type[Usage], rows: Sequence[Row]) -> None:
    """Rows of a coarse tier: key, values and histograms. What has the same key gives way."""
    columns = (*RULES, *HISTOGRAMS)
    _upsert(model, (*KEY, *columns), {name: f"excluded.{name}" for name in columns}, rows)


def _upsert(
    model: type[Usage],
    columns: Iterable[str],
    changes: Mapping[str, str],
    rows: Sequence[Row],
) -> None:
    columns = list(columns)
    table = connection.ops.quote_name(model._meta.db_table)
    sql = (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) "  # noqa: S608
        f"ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET {', '.join(f'{n} = {to}' for n, to in changes.items())}"
    )
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)
