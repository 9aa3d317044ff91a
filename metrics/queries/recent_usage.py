"""Recent usage: sparklines of the last hour for the program list, and the minutes before an incident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db import connection

from metrics.models import ResourceUsage
from metrics.storage.tiers import HOUR_SECONDS, MINUTE, RAW, TierSegment
from programs.models import ProgramEvent

from .measures import AGGREGATE_SQL, CPU, MEMORY, ProgramSource
from .series import union_rows

STEP = MINUTE.seconds
INCIDENT_MINUTES = 10  # before the event
MAX_LAG_SECONDS = 5 * STEP  # by which the roll-up of minutes may lag


@dataclass
class Sparkline:
    """One value per minute of the last hour, oldest first; None in a gap."""

    start: int
    cpu: list[float | None] = field(default_factory=list)
    memory: list[float | None] = field(default_factory=list)


def last_hour(programs: Sequence[int], now: int) -> dict[int, Sparkline]:
    """Sparklines by program id; programs without points are left out. One query."""
    # The newest minutes are also read as points. A minute that exists in both tiers counts twice, which does not
    # change its average and saves a query for how far the roll-up has come.
    if not programs:
        return {}
    end = now - now % STEP + STEP
    start = end - HOUR_SECONDS
    segments = [TierSegment(MINUTE, start, end), TierSegment(RAW, end - MAX_LAG_SECONDS, end)]
    sparklines = {}
    for program, rows in groupby(_minute_averages(programs, segments), itemgetter(0)):
        values = {bucket: (cpu, memory) for _, bucket, cpu, memory in rows}
        sparklines[program] = _to_sparkline(start, end, values)
    return sparklines


def _to_sparkline(start: int, end: int, values: Mapping[int, tuple[Any, Any]]) -> Sparkline:
    line = Sparkline(start)
    for bucket in range(start, end, STEP):
        cpu, memory = values.get(bucket, (None, None))
        line.cpu.append(None if cpu is None else CPU.rounded(cpu))
        line.memory.append(None if memory is None else MEMORY.rounded(memory))
    return line


def _minute_averages(programs: Sequence[int], segments: Sequence[TierSegment]) -> list[tuple[Any, ...]]:
    rows, values = union_rows(
        ProgramSource(programs), segments, "timestamp, cpu_ms, covered_ms, memory_sum, count"
    )
    bucket = f"timestamp - timestamp %% {STEP}"
    averages = ", ".join(measure.aggregates["avg"].format(**AGGREGATE_SQL) for measure in (CPU, MEMORY))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT program_id, {bucket} AS bucket, {averages} FROM ({rows}) AS found "  # noqa: S608  (names)
            "GROUP BY program_id, bucket ORDER BY program_id, bucket",
            values,
        )
        sparklines: list[tuple[Any, ...]] = cursor.fetchall()
    return sparklines


def usage_before(program_id: int, index: int, event: ProgramEvent) -> dict[str, Any]:
    """`cpu_percent` and `memory_bytes` as [[Unix seconds, maximum], …] over all instances; {} without points.

    The last seconds before the event may not be recorded yet.
    """
    end = int(event.timestamp.timestamp()) + 1
    start = end - 60 * INCIDENT_MINUTES
    points = ResourceUsage.objects.filter(
        period__in=RAW.periods(start, end), program=program_id, timestamp__range=(start, end)
    )
    rows = list(points.order_by("timestamp").values_list("timestamp", "cpu_max", "memory_max"))
    if not rows:
        return {}
    return {
        "cpu_percent": [[timestamp, cpu / 100] for timestamp, cpu, _ in rows],
        "memory_bytes": [[timestamp, memory] for timestamp, _, memory in rows],
    }
