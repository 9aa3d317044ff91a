"""Each program over a window of time: how much it used, how long it ran, how often it was restarted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from django.core.exceptions import ValidationError
from django.db.models import Count

from core import replica
from core.timeformat import from_unix
from metrics.storage import tiers
from metrics.storage.tiers import RAW, TIERS, Segment, Tier
from programs.models import Program, ProgramEvent

from .measures import CPU, MEMORY, OF_MANY, Programs
from .percentiles import percentiles_of
from .series import united

LEAST_BUCKETS = 20  # of the coarsest tier within a window, so that moving its start to a bucket's adds 5 % at most
P95 = 0.95
COLUMNS = ("covered_ms", "cpu_ms", "cpu_max", "count", "memory_sum", "memory_max")
TOTALS = ", ".join(
    wanted.format(**OF_MANY)
    for wanted in (
        *("{sum}(covered_ms)", CPU.aggregates["avg"], CPU.aggregates["max"]),
        *(MEMORY.aggregates["avg"], MEMORY.aggregates["max"]),
    )
)


class Figures(TypedDict):
    avg: float | None
    max: float | None
    p95: float | None


class Item(TypedDict):
    id: int
    name: str
    cpu_percent: Figures
    memory_bytes: Figures
    uptime_ratio: float
    restarts: int


class Window(NamedTuple):
    """`start` lies where a row of `coarsest` begins."""

    start: int
    end: int
    coarsest: Tier

    def earlier(self) -> Window:
        length = self.end - self.start
        return Window(self.coarsest.floor(self.start - length), self.start, self.coarsest)


USAGE = ("cpu_percent", "memory_bytes")
FIGURES = ("avg", "max", "p95")
ORDERS = ("name", "uptime_ratio", "restarts", *(f"{name}.{figure}" for name in USAGE for figure in FIGURES))


def window(start: int, end: int) -> Window:
    """Raises ValidationError."""
    if start >= end:
        raise ValidationError({"end": "Must come after the start."})
    fitting = (tier for tier in reversed(TIERS) if tier.width * LEAST_BUCKETS <= end - start)
    coarsest = next(fitting, RAW)
    return Window(coarsest.floor(start), end, coarsest)


def summary(
    asked: Window, now: int, *, ids: Sequence[int] | None = None, order: str = "-cpu_percent.avg", limit: int = 100
) -> list[Item]:
    """Programs that are there now, also those without history in the window. Four queries and one for each tier.

    `order` is one of ORDERS, a minus before it for descending; what has no such value comes last.
    """
    segments = tiers.segments(asked.start, asked.end, asked.coarsest, tiers.complete_until(), now)
    items = _items(asked, segments, now, ids)
    name = order.removeprefix("-")
    if name.endswith("p95"):
        _add_p95(items, segments)
        return _sorted(items, order)[:limit]
    items = _sorted(items, order)[:limit]
    _add_p95(items, segments)
    return items


def _sorted(items: Sequence[Item], order: str) -> list[Item]:
    def value(item: Mapping[str, Any]) -> Any:
        name, _, figure = order.removeprefix("-").partition(".")
        return item[name][figure] if figure else item[name]

    known = [item for item in items if value(item) is not None]
    known.sort(key=value, reverse=order.startswith("-"))
    return known + [item for item in items if value(item) is None]


def _items(asked: Window, segments: Sequence[Segment], now: int, ids: Sequence[int] | None) -> list[Item]:
    totals = _totals(Programs(ids), segments)
    restarts = _restarts(asked, ids)
    present = Program.objects.order_by("name")
    if ids is not None:
        present = present.filter(pk__in=ids)
    end = min(asked.end, now)
    items: list[Item] = []
    for pk, name, created_at in present.values_list("pk", "name", "created_at"):
        covered_ms, *figures = totals.get(pk, (0, None, None, None, None))
        seconds = end - max(asked.start, int(created_at.timestamp()))
        items.append(_item(pk, name, figures, _share(covered_ms, seconds), restarts.get(pk, 0)))
    return items


def _item(pk: int, name: str, figures: Sequence[Any], uptime_ratio: float, restarts: int) -> Item:
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


def _share(covered_ms: Any, seconds: float) -> float:
    """Of the time since the program was defined; 1 for one that ran and is younger than a second."""
    return min(1.0, round(float(covered_ms) / 1000 / max(seconds, 1), 4))


def _totals(source: Programs, segments: Sequence[Segment]) -> Mapping[int, Sequence[Any]]:
    rows, values = united(source, segments, ", ".join(COLUMNS))
    with replica.connection_to_read().cursor() as cursor:
        cursor.execute(f"SELECT program_id, {TOTALS} FROM ({rows}) AS found GROUP BY program_id", values)  # noqa: S608  (names)
        return {program: figures for program, *figures in cursor.fetchall()}


def _restarts(asked: Window, ids: Sequence[int] | None) -> dict[int, int]:
    span = (from_unix(asked.start), from_unix(asked.end))
    events = ProgramEvent.objects.filter(type="program.restarted", timestamp__gte=span[0], timestamp__lt=span[1])
    if ids is not None:
        events = events.filter(program__in=ids)
    counted = events.order_by().values_list("program").annotate(Count("pk"))
    return dict(counted)


def _add_p95(items: Sequence[Item], segments: Sequence[Segment]) -> None:
    """Only for those that are shown: histograms are the dearest to read."""
    source = Programs([item["id"] for item in items])
    cpu, memory = percentiles_of([CPU, MEMORY], source, segments, [P95])
    for item in items:
        key = (item["id"], 0)
        item["cpu_percent"]["p95"] = cpu.get(key, [None])[0]
        item["memory_bytes"]["p95"] = memory.get(key, [None])[0]
