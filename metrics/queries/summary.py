"""Summary per program over a time window: usage, uptime ratio and restarts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from django.core.exceptions import ValidationError
from django.db.models import Count

from core import replica
from core.timeformat import from_unix
from metrics.storage import tiers
from metrics.storage.tiers import RAW, TIERS, Tier, TierSegment
from programs.models import Program, ProgramEvent

from .measures import AGGREGATE_SQL, CPU, MEMORY, ProgramSource
from .percentiles import percentiles_by_measure
from .series import union_rows

MIN_BUCKETS = 20  # of the coarsest tier in a window, so that rounding its start adds at most 5 %
P95 = 0.95
COLUMNS = ("covered_ms", "cpu_ms", "cpu_max", "count", "memory_sum", "memory_max")
TOTALS_SQL = ", ".join(
    wanted.format(**AGGREGATE_SQL)
    for wanted in (
        *("{sum}(covered_ms)", CPU.aggregates["avg"], CPU.aggregates["max"]),
        *(MEMORY.aggregates["avg"], MEMORY.aggregates["max"]),
    )
)


class UsageFigures(TypedDict):
    avg: float | None
    max: float | None
    p95: float | None


class ProgramSummary(TypedDict):
    id: int
    name: str
    cpu_percent: UsageFigures
    memory_bytes: UsageFigures
    uptime_ratio: float
    restarts: int


class SummaryWindow(NamedTuple):
    """`start` is rounded down to a row of `coarsest`."""

    start: int
    end: int
    coarsest: Tier

    def earlier(self) -> SummaryWindow:
        length = self.end - self.start
        return SummaryWindow(self.coarsest.floor(self.start - length), self.start, self.coarsest)


USAGE = ("cpu_percent", "memory_bytes")
FIGURES = ("avg", "max", "p95")
ORDERS = ("name", "uptime_ratio", "restarts", *(f"{name}.{figure}" for name in USAGE for figure in FIGURES))


def summary_window(start: int, end: int) -> SummaryWindow:
    """Raises ValidationError."""
    if start >= end:
        raise ValidationError({"end": "Must be after start."})
    fitting = (tier for tier in reversed(TIERS) if tier.width * MIN_BUCKETS <= end - start)
    coarsest = next(fitting, RAW)
    return SummaryWindow(coarsest.floor(start), end, coarsest)


def summarize_programs(
    window: SummaryWindow,
    now: int,
    *,
    ids: Sequence[int] | None = None,
    order: str = "-cpu_percent.avg",
    limit: int = 100,
) -> list[ProgramSummary]:
    """All existing programs, also without history in the window. Four queries, and one per tier.

    `order` is one of ORDERS, with a leading minus for descending. Programs without that value come last.
    """
    segments = tiers.segments(window.start, window.end, window.coarsest, tiers.complete_until(), now)
    items = _items(window, segments, now, ids)
    name = order.removeprefix("-")
    if name.endswith("p95"):
        _add_p95(items, segments)
        return _sorted(items, order)[:limit]
    items = _sorted(items, order)[:limit]
    _add_p95(items, segments)
    return items


def _sorted(items: Sequence[ProgramSummary], order: str) -> list[ProgramSummary]:
    def value(item: Mapping[str, Any]) -> Any:
        name, _, figure = order.removeprefix("-").partition(".")
        return item[name][figure] if figure else item[name]

    known = [item for item in items if value(item) is not None]
    known.sort(key=value, reverse=order.startswith("-"))
    return known + [item for item in items if value(item) is None]


def _items(
    window: SummaryWindow, segments: Sequence[TierSegment], now: int, ids: Sequence[int] | None
) -> list[ProgramSummary]:
    totals = _totals(ProgramSource(ids), segments)
    restarts = _count_restarts(window, ids)
    present = Program.objects.order_by("name")
    if ids is not None:
        present = present.filter(pk__in=ids)
    end = min(window.end, now)
    items: list[ProgramSummary] = []
    for pk, name, created_at in present.values_list("pk", "name", "created_at"):
        covered_ms, *figures = totals.get(pk, (0, None, None, None, None))
        seconds = end - max(window.start, int(created_at.timestamp()))
        items.append(_item(pk, name, figures, _uptime_ratio(covered_ms, seconds), restarts.get(pk, 0)))
    return items


def _item(pk: int, name: str, figures: Sequence[Any], uptime_ratio: float, restarts: int) -> ProgramSummary:
    cpu_average, cpu_highest, memory_average, memory_highest = figures
    return {
        "id": pk,
        "name": name,
        "cpu_percent": {
            "avg": cpu_average,
            "max": cpu_highest,
            "p95": None,
        },
        "memory_bytes": {
            "avg": memory_average,
            "max": memory_highest,
            "p95": None,
        },
        "uptime_ratio": uptime_ratio,
        "restarts": restarts,
    }


def _uptime_ratio(covered_ms: Any, seconds: float) -> float:
    # Relative to the time since the program was defined.
    return min(1.0, round(float(covered_ms) / 1000 / max(seconds, 1), 4))


def _totals(source: ProgramSource, segments: Sequence[TierSegment]) -> Mapping[int, Sequence[Any]]:
    rows, values = union_rows(source, segments, ", ".join(COLUMNS))
    with replica.connection_to_read().cursor() as cursor:
        cursor.execute(f"SELECT program_id, {TOTALS_SQL} FROM ({rows}) AS found GROUP BY program_id", values)  # noqa: S608  (names)
        return {program: figures for program, *figures in cursor.fetchall()}


def _count_restarts(window: SummaryWindow, ids: Sequence[int] | None) -> dict[int, int]:
    start, end = from_unix(window.start), from_unix(window.end)
    events = ProgramEvent.objects.filter(type="program.restarted", timestamp__gte=start, timestamp__lt=end)
    if ids is not None:
        events = events.filter(program__in=ids)
    counted = events.order_by().values_list("program").annotate(Count("pk"))
    return dict(counted)


def _add_p95(items: Sequence[ProgramSummary], segments: Sequence[TierSegment]) -> None:
    # Only for the listed programs, because histograms are expensive to read.
    source = ProgramSource([item["id"] for item in items])
    cpu, memory = percentiles_by_measure([CPU, MEMORY], source, segments, [P95])
    for item in items:
        key = (item["id"], 0)
        item["cpu_percent"]["p95"] = cpu.get(key, [None])[0]
        item["memory_bytes"]["p95"] = memory.get(key, [None])[0]
