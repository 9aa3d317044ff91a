"""The value of a measure over a while, from columns of its rows that are added up.

Charts have the database divide. Here the sums come to Python, because a backtest slides its window over them, and
must find exactly what the agent found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COVERED = "covered_ms"


@dataclass(frozen=True)
class Level:
    """`factor * over / under` of the sums, or the highest `over` where there is no `under`.

    `unit` as in `programs.descriptions.quantity`.
    """

    over: str
    under: str = ""
    factor: float = 1
    digits: int = 0
    unit: str = "count"

    @property
    def is_highest(self) -> bool:
        return not self.under

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((COVERED, self.over, self.under or COVERED)))

    @property
    def sums(self) -> tuple[str, str, str]:
        """The aggregates of time covered (in ms), `over` and `under`."""
        over = f"{'max' if self.is_highest else 'sum'}({self.over})"
        return f"sum({COVERED})", over, f"sum({self.under or COVERED})"

    def is_beyond(self, over: str, under: str, *, above: bool) -> str:
        """A condition in SQL, with a place for `limit`. True of all that is beyond once it is rounded."""
        return f"{self.factor} * {over} {'>' if above else '<'} %s * {'1' if self.is_highest else under}"

    def limit(self, threshold: float, *, above: bool) -> float:
        """A little on this side of the threshold."""
        margin: float = 10.0**-self.digits
        return threshold - margin if above else threshold + margin

    def of(self, over: Any, under: Any) -> float | None:
        """None: not known. PostgreSQL gives sums as Decimal."""
        if over is None:
            return None
        if self.is_highest:
            return float(over)
        return round(self.factor * float(over) / float(under), self.digits) if under else None


LEVELS: Mapping[str, Level] = {
    "cpu_percent": Level("cpu_ms", "covered_ms", factor=100, digits=2, unit="percent"),
    "memory_bytes": Level("memory_sum", "count", unit="bytes"),
    "threads": Level("threads_max"),
    "open_files": Level("open_files_max"),
    "read_bytes_per_second": Level("read_bytes", "covered_ms", factor=1000, digits=1, unit="bytes_per_second"),
    "write_bytes_per_second": Level("write_bytes", "covered_ms", factor=1000, digits=1, unit="bytes_per_second"),
}
