"""Stores usage rows as the collector does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from metrics.models import CoarseUsage, HostUsage, ProgramUsage
from metrics.storage import histogram
from metrics.storage.tiers import RAW, Tier
from programs.models import Host, Program

MIDNIGHT = 20_000 * 86_400
NOON = MIDNIGHT + 12 * 3600


def store_usage(
    tier: Tier, program: Program | int, timestamp: int, cpu: float = 10.0, memory: int = 1_000_000, **values: Any
) -> ProgramUsage:
    """One row with constant `cpu` percent and `memory` bytes, and five samples in ten seconds."""
    seconds = tier.width
    count = values.pop("count", seconds // 2)
    hundredths = round(cpu * 100)
    row: dict[str, Any] = {
        "period": tier.period_of(timestamp),
        "program_id": program if isinstance(program, int) else program.pk,
        "timestamp": timestamp,
        "count": count,
        "covered_ms": seconds * 1000,
        "cpu_ms": round(cpu * seconds * 10),
        "cpu_min": hundredths,
        "cpu_max": hundredths,
        "cpu_last": hundredths,
        "memory_sum": memory * count,
        "memory_min": memory,
        "memory_max": memory,
        "memory_last": memory,
        "threads_max": 1,
    }
    if issubclass(tier.model, CoarseUsage):
        points = max(1, seconds // RAW.width)
        row["cpu_histogram"] = histogram.encode({histogram.CPU.bin_of(hundredths): points})
        row["memory_histogram"] = histogram.encode({histogram.MEMORY.bin_of(memory): points})
    return tier.model._default_manager.create(**row | values)


def store_usage_rows(tier: Tier, program: Program, timestamps: Iterable[int], **values: Any) -> None:
    for timestamp in timestamps:
        store_usage(tier, program, timestamp, **values)


def store_host_usage(host: Host, tier: Tier, timestamp: int, **values: Any) -> HostUsage:
    row: dict[str, Any] = {
        "step": tier.step, "timestamp": timestamp, "count": max(1, tier.width // RAW.width),
        "cpu_percent": 20.0, "cpu_percent_max": 30.0, "load_1": 0.5,
        "memory_total": 8_000, "memory_used": 4_000, "memory_used_max": 5_000, "swap_total": 0, "swap_used": 0,
        "disk_total": 100_000, "disk_used": 60_000, "disk_read_bytes": 1_000, "disk_write_bytes": 2_000,
        "network_received_bytes": 3_000, "network_sent_bytes": 4_000,
    }  # fmt: skip
    return HostUsage.objects.create(host=host, **row | values)
