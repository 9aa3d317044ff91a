"""The last hour of many programs in a few points each, for the list of programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db import connection

from metrics.models import ResourceUsage
from metrics.storage.tiers import HOUR_SECONDS, MINUTE, RAW, Segment
from programs.models import ProgramEvent

from .measures import CPU, MEMORY, OF_MANY, Programs
from .series import united

STEP = MINUTE.seconds
INCIDENT_MINUTES = 10  # before the event
BEHIND_SECONDS = 5 * STEP  # by which the minutes may lag behind the points


@dataclass
class Sparkline:
    """One value for each minute of the last hour, oldest first; None where nothing was recorded."""

    start: int
    cpu: list[float | None] = field(default_factory=list)
    memory: list[float | None] = field(default_factory=list)


def last_hour(programs: Sequence[int], now: int) -> dict[int, Sparkline]:
    """By program id; programs without a point are left out. One query.

    The newest minutes are read as points, too. A minute that is there in both forms counts twice, which leaves its
    average what it is, and spares asking first how far the minutes have come.
    """
    if not programs:
        return {}
    end = now - now % STEP + STEP
    start = end - HOUR_SECONDS
    segments = [Segment(MINUTE, start, end), Segment(RAW, end - BEHIND_SECONDS, end)]
    found = {}
    for program, rows in groupby(_rows(programs, segments), itemgetter(0)):
        values = {bucket: (cpu, memory) for _, bucket, cpu, memory in rows}
        found[program] = _line(start, end, values)
    return found


def _line(start: int, end: int, values: Mapping[int, tuple[Any, Any]]) -> Sparkline:
    line = Sparkline(start)
    for bucket in range(start, end, STEP):
        cpu, memory = values.get(bucket, (None, None))
        line.cpu.append(None if cpu is None else CPU.shown(cpu))
        line.memory.append(None if memory is None else MEMORY.shown(memory))
    return line


def _rows(programs: Sequence[int], segments: Sequence[Segment]) -> list[tuple[Any, ...]]:
    rows, values = united(Programs(programs), segments, "timestamp, cpu_ms, covered_ms, memory_sum, count")
    bucket = f"timestamp - timestamp %% {STEP}"
    averages = ", ".join(measure.aggregates["avg"].format(**OF_MANY) for measure in (CPU, MEMORY))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT program_id, {bucket} AS bucket, {averages} FROM ({rows}) AS found "  # noqa: S608  (names)
            "GROUP BY program_id, bucket ORDER BY program_id, bucket",
            values,
        )
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def usage_before(program_id: int, index: int, event: ProgramEvent) -> dict[str, Any]:
    """`cpu_percent` and `memory_bytes` as [[Unix seconds, value], …], the highest of each point; {} without any.

    The points are of the program, all of its instances together. The last one may lack
    the seconds before the end, or be missing when nothing happened in it.
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
