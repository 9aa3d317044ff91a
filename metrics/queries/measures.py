"""What can be asked for of programs and hosts, and where the rows of it are.

The expressions are templates of SQL: `OF_MANY` makes them aggregates over the rows of one bucket, where `newest`
is 1 in the latest of them, and `OF_ONE` what they come to for a bucket of one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.conf import settings
from django.db import connection

from metrics.models import HostUsage
from metrics.storage import histogram, tiers
from metrics.storage.histogram import Scale
from metrics.storage.tiers import Segment, Tier

MOST_SEEKS = 5000  # beyond that it is quicker to read everything in between
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
OF_MANY = {"sum": "sum", "min": "min", "max": "max", "last": "max(CASE WHEN newest = 1 THEN ", "end": " END)"}
OF_ONE = {"sum": "", "min": "", "max": "", "last": "(", "end": ")"}
Sql = tuple[str, list[Any]]


@dataclass(frozen=True)
class Distribution:
    """Where percentiles come from: of recorded points the `value`, of coarser rows the histogram.

    `unit` is what one of the stored values is in the measure's own unit.
    """

    histogram: str
    value: str
    low: str
    high: str
    scale: Scale
    unit: float


@dataclass(frozen=True)
class Measure:
    """`is_exact`: the database gives plain numbers as they go out, so that thousands of them need no more work."""

    columns: tuple[str, ...]
    aggregates: Mapping[str, str]
    digits: int = 0
    distribution: Distribution | None = None
    is_exact: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.aggregates, *(PERCENTILES if self.distribution else ()))

    def shown(self, value: Any) -> float:
        """As it goes out. PostgreSQL gives sums as Decimal."""
        return round(float(value), self.digits) if self.digits else round(value)


def _last(column: str) -> str:
    return f"{{last}}{column}{{end}}"


def _highest(column: str) -> Measure:
    return Measure((column,), {"max": f"{{max}}({column})"}, is_exact=True)


def _hundredths(whole: str) -> str:
    return f"CAST({whole} AS double precision) / 100"


def _quotient(over: str, under: str) -> str:
    """Rounded, in whole numbers: the sums of PostgreSQL do not divide like those of SQLite."""
    top, bottom = f"CAST({over} AS bigint)", f"CAST({under} AS bigint)"
    return f"({top} + {bottom} / 2) / NULLIF({bottom}, 0)"


def _rate(column: str, seconds: str, *needed: str) -> Measure:
    """Of a counter: per second of the time for which there are samples."""
    return Measure((column, *needed), {"avg": f"1.0 * {{sum}}({column}) / NULLIF({seconds}, 0)"}, digits=1)


CPU = Measure(
    columns=("cpu_ms", "covered_ms", "cpu_min", "cpu_max", "cpu_last"),
    aggregates={
        "avg": _hundredths(_quotient("{sum}(cpu_ms) * 10000", "{sum}(covered_ms)")),
        "min": _hundredths("{min}(cpu_min)"),
        "max": _hundredths("{max}(cpu_max)"),
        "last": _hundredths(_last("cpu_last")),
    },
    digits=2,
    is_exact=True,
    distribution=Distribution(
        "cpu_histogram", "10000.0 * cpu_ms / NULLIF(covered_ms, 0)", "cpu_min", "cpu_max", histogram.CPU, 0.01
    ),
)
MEMORY = Measure(
    columns=("memory_sum", "count", "memory_min", "memory_max", "memory_last"),
    aggregates={
        "avg": _quotient("{sum}(memory_sum)", "{sum}(count)"),
        "min": "{min}(memory_min)",
        "max": "{max}(memory_max)",
        "last": _last("memory_last"),
    },
    is_exact=True,
    distribution=Distribution(
        "memory_histogram", "1.0 * memory_sum / count", "memory_min", "memory_max", histogram.MEMORY, 1
    ),
)
OF_PROGRAMS: Mapping[str, Measure] = {
    "cpu_percent": CPU,
    "memory_bytes": MEMORY,
    "threads": _highest("threads_max"),
    "open_files": _highest("open_files_max"),
    "read_bytes_per_second": _rate("read_bytes", "{sum}(covered_ms) / 1000.0", "covered_ms"),
    "write_bytes_per_second": _rate("write_bytes", "{sum}(covered_ms) / 1000.0", "covered_ms"),
}


def _gauge(column: str, *, highest: str = "", digits: int = 0) -> Measure:
    """Rows hold averages over `count` points."""
    aggregates = {"avg": f"1.0 * {{sum}}({column} * count) / {{sum}}(count)", "last": _last(column)}
    if highest:
        aggregates["max"] = f"{{max}}({highest})"
    return Measure((column, "count", *([highest] if highest else [])), aggregates, digits)


def _host_rate(column: str) -> Measure:
    return _rate(column, f"{{sum}}(count) * {float(settings.RECORD_SECONDS)}", "count")


OF_HOSTS: Mapping[str, Measure] = {
    "cpu_percent": _gauge("cpu_percent", highest="cpu_percent_max", digits=2),
    "load_1": _gauge("load_1", digits=2),
    "memory_used_bytes": _gauge("memory_used", highest="memory_used_max"),
    "memory_total_bytes": _gauge("memory_total"),
    "swap_used_bytes": _gauge("swap_used"),
    "disk_used_bytes": _gauge("disk_used"),
    "disk_total_bytes": _gauge("disk_total"),
    "disk_read_bytes_per_second": _host_rate("disk_read_bytes"),
    "disk_write_bytes_per_second": _host_rate("disk_write_bytes"),
    "network_received_bytes_per_second": _host_rate("network_received_bytes"),
    "network_sent_bytes_per_second": _host_rate("network_sent_bytes"),
}


# --- Where the rows are ---------------------------------------------------------------------------------


class Source(Protocol):
    """`owner` is the column that says whose row it is."""

    @property
    def owner(self) -> str: ...

    @property
    def measures(self) -> Mapping[str, Measure]: ...

    def rows(self, segment: Segment) -> Sql:
        """`FROM … WHERE …` with its values."""

    def complete_until(self) -> Mapping[Tier, int]: ...


@dataclass(frozen=True)
class Programs:
    """The programs of these ids, or all of them."""

    ids: Sequence[int] | None = None
    owner: str = field(default="program_id", init=False)
    measures: Mapping[str, Measure] = field(default_factory=lambda: OF_PROGRAMS, init=False)

    def rows(self, segment: Segment) -> Sql:
        """Seeks period by period when a few programs are asked for, and otherwise reads what lies in between."""
        periods = segment.tier.periods(segment.start, segment.end)
        values: list[Any] = [segment.start, segment.end]
        if self.ids is not None and len(periods) * len(self.ids) <= MOST_SEEKS:
            condition = f"period IN ({marks(len(periods))})"
            values += periods
        else:
            condition = "period BETWEEN %s AND %s"
            values += [periods[0], periods[-1]]
        if self.ids is not None:
            condition += f" AND program_id IN ({marks(len(self.ids))})"
            values += self.ids
        table = connection.ops.quote_name(segment.tier.model._meta.db_table)
        return f"FROM {table} WHERE timestamp >= %s AND timestamp < %s AND {condition}", values

    def complete_until(self) -> Mapping[Tier, int]:
        return tiers.complete_until()


@dataclass(frozen=True)
class OneHost:
    id: int
    owner: str = field(default="host_id", init=False)
    measures: Mapping[str, Measure] = field(default_factory=lambda: OF_HOSTS, init=False)

    def rows(self, segment: Segment) -> Sql:
        table = connection.ops.quote_name(HostUsage._meta.db_table)
        condition = "host_id = %s AND step = %s AND timestamp >= %s AND timestamp < %s"
        return f"FROM {table} WHERE {condition}", [self.id, segment.tier.step, segment.start, segment.end]

    def complete_until(self) -> Mapping[Tier, int]:
        """A tier has everything up to its newest row: rows are written when what they cover is over."""
        complete = {tiers.RAW: tiers.FOREVER}
        for tier in tiers.COARSER.values():
            rows = HostUsage.objects.filter(host_id=self.id, step=tier.step).order_by("-timestamp")
            newest = rows.values_list("timestamp", flat=True).first()
            complete[tier] = 0 if newest is None else newest + tier.width
        return complete


def marks(count: int) -> str:
    """Places for so many values; `IN ()` would be no SQL."""
    return ", ".join(["%s"] * count) if count else "NULL"
