"""How each alert metric is computed from the columns of usage rows, and its unit.

Charts divide in SQL. Here the sums are divided in Python, because a backtest slides its window over them and must
get exactly the agent's values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COVERED = "covered_ms"


@dataclass(frozen=True)
class MetricSpec:
    """`factor * sum(numerator) / sum(denominator)`, or `max(numerator)` without a denominator.

    `unit`: see `programs.descriptions.quantity`.
    """

    numerator: str
    denominator: str = ""
    factor: float = 1
    digits: int = 0
    unit: str = "count"

    @property
    def uses_maximum(self) -> bool:
        return not self.denominator

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((COVERED, self.numerator, self.denominator or COVERED)))

    @property
    def sql_aggregates(self) -> tuple[str, str, str]:
        """SQL of the covered time (ms), the numerator and the denominator of a window."""
        numerator = f"{'max' if self.uses_maximum else 'sum'}({self.numerator})"
        return f"sum({COVERED})", numerator, f"sum({self.denominator or COVERED})"

    def sql_condition(self, numerator: str, denominator: str, *, above: bool) -> str:
        """An SQL condition with a placeholder for `sql_limit`; true if the rounded value may be beyond."""
        return (
            f"{self.factor} * {numerator} {'>' if above else '<'} %s * {'1' if self.uses_maximum else denominator}"
        )

    def sql_limit(self, threshold: float, *, above: bool) -> float:
        # A margin, because the value is rounded after SQL has compared it.
        margin: float = 10.0**-self.digits
        return threshold - margin if above else threshold + margin

    def compute(self, numerator: Any, denominator: Any) -> float | None:
        # PostgreSQL returns sums as Decimal.
        if numerator is None:
            return None
        if self.uses_maximum:
            return float(numerator)
        return round(self.factor * float(numerator) / float(denominator), self.digits) if denominator else None


METRIC_SPECS: Mapping[str, MetricSpec] = {
    "cpu_percent": MetricSpec("cpu_ms", "covered_ms", factor=100, digits=2, unit="percent"),
    "memory_bytes": MetricSpec("memory_sum", "count", unit="bytes"),
    "threads": MetricSpec("threads_max"),
    "open_files": MetricSpec("open_files_max"),
    "read_bytes_per_second": MetricSpec(
        "read_bytes", "covered_ms", factor=1000, digits=1, unit="bytes_per_second"
    ),
    "write_bytes_per_second": MetricSpec(
        "write_bytes", "covered_ms", factor=1000, digits=1, unit="bytes_per_second"
    ),
}
