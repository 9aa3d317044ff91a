"""What a program used in the ten minutes before it ended unexpectedly: part of the incident's card."""

from __future__ import annotations

from typing import Any

from metrics.models import ResourceUsage
from metrics.storage.tiers import RAW
from programs.models import ProgramEvent

MINUTES = 10


def usage_before(program_id: int, index: int, event: ProgramEvent) -> dict[str, Any]:
    """`cpu_percent` and `memory_bytes` as [[Unix seconds, value], …], the highest of each point; {} without any.

    The points are of the program, all of its instances together. The last one may lack
    the seconds before the end, or be missing when nothing happened in it.
    """
    end = int(event.timestamp.timestamp()) + 1
    start = end - 60 * MINUTES
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
