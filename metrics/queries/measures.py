"""The measures of programs and hosts (CPU percent, memory, rates …) as SQL, and where their rows are stored.

The expressions are templates: `AGGREGATE_SQL` fills them for a bucket of many rows, of which the latest has
`newest` = 1, and `SINGLE_ROW_SQL` for a bucket of one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.conf import settings
from django.db import connection

from metrics.models import HostUsage
from metrics.storage import histogram, tiers
from metrics.storage.histogram import HistogramScale
from metrics.storage.tiers import Tier, TierSegment

MAX_SEEKS = 5000  # beyond that, reading everything in between is faster
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
AGGREGATE_SQL = {
    "sum": "sum",
    "min": "min",
    "max": "max",
    "last": "max(CASE WHEN newest = 1 THEN ",
    "end": " END)",
}
SINGLE_ROW_SQL = {"sum": "", "min": "", "max": "", "last": "(", "end": ")"}
Sql = tuple[str, list[Any]]


@dataclass(frozen=True)
class DistributionColumns:
    """The columns that percentiles are computed from: `value` of recorded points, `histogram` of coarser rows.

    `unit` is the factor from stored values to the unit of the measure.
    """

    histogram: str
    value: str
    low: str
    high: str
    scale: HistogramScale
    unit: float


@dataclass(frozen=True)
class Measure:
    """`is_exact`: the database returns the numbers as they are shown, so they need no rounding in Python."""

    columns: tuple[str, ...]
    aggregates: Mapping[str, str]
    digits: int = 0
    distribution: DistributionColumns | None = None
    is_exact: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.aggregates, *(PERCENTILES if self.distribution else ()))

    def rounded(self, value: Any) -> float:
        # PostgreSQL returns sums as Decimal.
        return round(float(value), self.digits) if self.digits else round(value)


def _last(column: str) -> str:
    return f"{{last}}{column}{{end}}"


def _maximum(column: str) -> Measure:
    return Measure((column,), {"max": f"{{max}}({column})"}, is_exact=True)


def _hundredths(whole: str) -> str:
    return f"CAST({whole} AS double precision) / 100"


def _rounded_quotient(over: str, under: str) -> str:
    # In bigint, because PostgreSQL divides sums as Decimal and SQLite as integers.
    top, bottom = f"CAST({over} AS bigint)", f"CAST({under} AS bigint)"
    return f"({top} + {bottom} / 2) / NULLIF({bottom}, 0)"


def _rate(column: str, seconds: str, *needed: str) -> Measure:
    return Measure((column, *needed), {"avg": f"1.0 * {{sum}}({column}) / NULLIF({seconds}, 0)"}, digits=1)


CPU = Measure(
    columns=("cpu_ms", "covered_ms", "cpu_min", "cpu_max", "cpu_last"),
    aggregates={
        "avg": _hundredths(_rounded_quotient("{sum}(cpu_ms) * 10000", "{sum}(covered_ms)")),
        "min": _hundredths("{min}(cpu_min)"),
        "max": _hundredths("{max}(cpu_max)"),
        "last": _hundredths(_last("cpu_last")),
    },
    digits=2,
    is_exact=True,
    distribution=DistributionColumns(
        "cpu_histogram", "10000.0 * cpu_ms / NULLIF(covered_ms, 0)", "cpu_min", "cpu_max", histogram.CPU, 0.01
    ),
)
MEMORY = Measure(
    columns=("memory_sum", "count", "memory_min", "memory_max", "memory_last"),
    aggregates={
        "avg": _rounded_quotient("{sum}(memory_sum)", "{sum}(count)"),
        "min": "{min}(memory_min)",
        "max": "{max}(memory_max)",
        "last": _last("memory_last"),
    },
    is_exact=True,
    distribution=DistributionColumns(
        "memory_histogram", "1.0 * memory_sum / count", "memory_min", "memory_max", histogram.MEMORY, 1
    ),
)
PROGRAM_MEASURES: Mapping[str, Measure] = {
    "cpu_percent": CPU,
    "memory_bytes": MEMORY,
    "threads": _maximum("threads_max"),
    "open_files": _maximum("open_files_max"),
    "read_bytes_per_second": _rate("read_bytes", "{sum}(covered_ms) / 1000.0", "covered_ms"),
    "write_bytes_per_second": _rate("write_bytes", "{sum}(covered_ms) / 1000.0", "covered_ms"),
}


def _gauge(column: str, *, highest: str = "", digits: int = 0) -> Measure:
    # Rows store averages over `count` points.
    aggregates = {"avg": f"1.0 * {{sum}}({column} * count) / {{sum}}(count)", "last": _last(column)}
    if highest:
        aggregates["max"] = f"{{max}}({highest})"
    return Measure((column, "count", *([highest] if highest else [])), aggregates, digits)


def _host_rate(column: str) -> Measure:
    return _rate(column, f"{{sum}}(count) * {float(settings.RECORD_SECONDS)}", "count")


HOST_MEASURES: Mapping[str, Measure] = {
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


class RowSource(Protocol):
    """Rows of programs or hosts. `owner` is the column with the program or host id."""

    @property
    def owner(self) -> str: ...

    @property
    def measures(self) -> Mapping[str, Measure]: ...

    def rows(self, segment: TierSegment) -> Sql:
        """`FROM … WHERE …` and its parameters."""

    def complete_until(self) -> Mapping[Tier, int]: ...


@dataclass(frozen=True)
class ProgramSource:
    """Rows of these programs, or of all."""

    ids: Sequence[int] | None = None
    owner: str = field(default="program_id", init=False)
    measures: Mapping[str, Measure] = field(default_factory=lambda: PROGRAM_MEASURES, init=False)

    def rows(self, segment: TierSegment) -> Sql:
        """Seeks each period for a few programs, and otherwise reads the whole range of the key."""
        periods = segment.tier.periods(segment.start, segment.end)
        values: list[Any] = [segment.start, segment.end]
        if self.ids is not None and len(periods) * len(self.ids) <= MAX_SEEKS:
            condition = f"period IN ({placeholders(len(periods))})"
            values += periods
        else:
            condition = "period BETWEEN %s AND %s"
            values += [periods[0], periods[-1]]
        if self.ids is not None:
            condition += f" AND program_id IN ({placeholders(len(self.ids))})"
            values += self.ids
        table = connection.ops.quote_name(segment.tier.model._meta.db_table)
        return f"FROM {table} WHERE timestamp >= %s AND timestamp < %s AND {condition}", values

    def complete_until(self) -> Mapping[Tier, int]:
        return tiers.complete_until()


@dataclass(frozen=True)
class HostSource:
    id: int
    owner: str = field(default="host_id", init=False)
    measures: Mapping[str, Measure] = field(default_factory=lambda: HOST_MEASURES, init=False)

    def rows(self, segment: TierSegment) -> Sql:
        table = connection.ops.quote_name(HostUsage._meta.db_table)
        condition = "host_id = %s AND step = %s AND timestamp >= %s AND timestamp < %s"
        return f"FROM {table} WHERE {condition}", [self.id, segment.tier.step, segment.start, segment.end]

    def complete_until(self) -> Mapping[Tier, int]:
        # Rows are written when their time is over, so a tier is complete up to its newest row.
        complete = {tiers.RAW: tiers.FOREVER}
        for tier in tiers.COARSER.values():
            rows = HostUsage.objects.filter(host_id=self.id, step=tier.step).order_by("-timestamp")
            newest = rows.values_list("timestamp", flat=True).first()
            complete[tier] = 0 if newest is None else newest + tier.width
        return complete


def placeholders(count: int) -> str:
    # `IN ()` is a syntax error.
    return ", ".join(["%s"] * count) if count else "NULL"
