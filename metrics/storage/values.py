"""The columns of a usage row, and how two rows are merged, in memory and in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django.db import connection

from core.bulk_sql import upsert
from metrics.models import ProgramUsage, ResourceUsage


class Values(NamedTuple):
    """A row without its key, in the order of `RULES`; `samples` is its `count`. Units: see the model."""

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


SUM = "{old} + {new}"
MIN = "CASE WHEN {new} < {old} THEN {new} ELSE {old} END"
MAX = "CASE WHEN {new} > {old} THEN {new} ELSE {old} END"
LAST = "{new}"
SUM_NOT_NULL = "COALESCE({old} + {new}, {old}, {new})"
MAX_NOT_NULL = "CASE WHEN {old} IS NULL OR {new} > {old} THEN {new} ELSE {old} END"

# How each column of an earlier and a later row is merged, in portable SQL.
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
    "open_files_max": MAX_NOT_NULL,
    "read_bytes": SUM_NOT_NULL,
    "write_bytes": SUM_NOT_NULL,
}
KEY_COLUMNS = ("period", "program_id", "timestamp")
HISTOGRAMS = ("cpu_histogram", "memory_histogram")
UsageRow = tuple[int | bytes | None, ...]


def merge(earlier: Values, later: Values) -> Values:
    """Merges in memory, like RULES in SQL."""
    # Unrolled: it runs for every program in every tick and takes a third of the time of a loop over RULES.
    # fmt: off
    (count, covered, cpu, cpu_min, cpu_max, _, memory, memory_min, memory_max, _,
     threads, files, read, written) = earlier
    (n_count, n_covered, n_cpu, n_cpu_min, n_cpu_max, cpu_last, n_memory, n_memory_min, n_memory_max, memory_last,
     n_threads, n_files, n_read, n_written) = later
    # fmt: on
    return Values(
        count + n_count,
        covered + n_covered,
        cpu + n_cpu,
        n_cpu_min if n_cpu_min < cpu_min else cpu_min,
        n_cpu_max if n_cpu_max > cpu_max else cpu_max,
        cpu_last,
        memory + n_memory,
        n_memory_min if n_memory_min < memory_min else memory_min,
        n_memory_max if n_memory_max > memory_max else memory_max,
        memory_last,
        n_threads if n_threads > threads else threads,
        n_files if files is None or (n_files is not None and n_files > files) else files,
        n_read if read is None else read if n_read is None else read + n_read,
        n_written if written is None else written if n_written is None else written + n_written,
    )


# --- Into the database ----------------------------------------------------------------------------------


def add_to_points(period: int, timestamp: int, points: Mapping[int, Values]) -> None:
    """Inserts the point of each program (by id), or merges into the existing one."""
    rows = [(period, program, timestamp, *values) for program, values in points.items()]
    table = connection.ops.quote_name(ResourceUsage._meta.db_table)
    merges = {name: rule.format(old=f"{table}.{name}", new=f"excluded.{name}") for name, rule in RULES.items()}
    upsert(ResourceUsage, (*KEY_COLUMNS, *RULES), rows, key=KEY_COLUMNS, changes=merges)


def replace_rows(model: type[ProgramUsage], rows: Sequence[UsageRow]) -> None:
    """Inserts rows of a coarse tier (key, values, histograms); replaces rows with the same key."""
    columns = (*RULES, *HISTOGRAMS)
    upsert(model, (*KEY_COLUMNS, *columns), rows, key=KEY_COLUMNS)
