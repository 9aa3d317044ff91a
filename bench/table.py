"""The table of `bench.supervise`: a row per figure, a column per manager, ratios to ours in brackets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.measurements import Figures

REFERENCE = "ours"


@dataclass(frozen=True)
class Row:
    key: str
    label: str
    unit: str = ""
    digits: int = 1
    has_ratio: bool = True

    def cell(self, value: float | None, reference: float | None) -> str:
        if value is None:
            return "-"
        shown = f"{value:,.{self.digits}f} {self.unit}".rstrip()
        return f"{shown} (x{ratio(value / reference)})" if self.has_ratio and reference else shown


def ratio(value: float) -> str:
    """Two significant digits: measurements like these are not more accurate."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


ROWS = (
    Row("start_seconds", "start {programs} programs", "s", 2),
    Row("restart_median_ms", "restart after SIGKILL, median", "ms"),
    Row("restart_max_ms", "restart after SIGKILL, slowest of {kills}", "ms"),
    Row("status_median_ms", "status of all programs, median of up to {status_calls}", "ms", 2),
    Row("usage_median_ms", "status of all programs with CPU and memory", "ms", 2),
    Row("idle_percent", "idle CPU of one core, supervising processes", "%", 2),
    Row("idle_stack_percent", "idle CPU of one core, all processes", "%", 2),
    Row("others_percent", "CPU of everything else on the machine meanwhile", "%", 0, has_ratio=False),
    Row("memory_pss_mb", "memory (PSS), supervising processes", "MB"),
    Row("memory_rss_mb", "memory (RSS), supervising processes", "MB"),
    Row("stack_pss_mb", "memory (PSS), all processes", "MB"),
    Row("stack_rss_mb", "memory (RSS), all processes", "MB"),
    Row("flood_rotations", "log flood: rotations", digits=0, has_ratio=False),
    Row("flood_lost", "log flood: lines lost", digits=0, has_ratio=False),
    Row("flood_damaged", "log flood: lines repeated or broken", digits=0, has_ratio=False),
    Row("flood_cpu_seconds", "log flood: manager's CPU", "s", 2),
)


def render(results: Mapping[str, Figures], titles: Mapping[str, str], plan: Mapping[str, object]) -> str:
    """An aligned Markdown table. `plan` has the values of the placeholders in the labels."""
    reference = results.get(REFERENCE, {})
    lines = [["", *titles.values()]]
    for row in ROWS:
        cells = (row.cell(results[name].get(row.key), compared(name, reference.get(row.key))) for name in titles)
        lines.append([row.label.format(**plan), *cells])
    return align(lines)


def compared(name: str, reference: float | None) -> float | None:
    """The value to compare with: none in our own column."""
    return None if name == REFERENCE else reference


def align(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = [f"{'-' * (width - 1)}:" if index else "-" * width for index, width in enumerate(widths)]
    padded = [
        [
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in [lines[0], rule, *lines[1:]]
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)
