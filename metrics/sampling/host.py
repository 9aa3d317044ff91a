"""Usage of the whole host, read through psutil every RECORD_SECONDS, and its roll-up into coarser tiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import psutil
from django.conf import settings

from metrics.models import HostUsage

AVERAGED = ("cpu_percent", "load_1")
AVERAGED_AS_INTEGER = ("memory_used", "swap_used", "disk_used")
MAXIMA = ("cpu_percent_max", "memory_used_max")
SUMMED = ("disk_read_bytes", "disk_write_bytes", "network_received_bytes", "network_sent_bytes")


class HostCounters(NamedTuple):
    """Counters that only grow, since boot."""

    cores: list[tuple[float, float]]  # busy seconds, all seconds
    disk_read: int
    disk_write: int
    received: int
    sent: int


class HostMeter:
    """Turns counters into usage since the previous `read`. The first call returns None."""

    def __init__(self) -> None:
        self._previous: HostCounters | None = None

    def read(self) -> HostUsage | None:
        """A row without host and timestamp, for the time since the last call. Takes about a millisecond."""
        before, self._previous = self._previous, _counters()
        return _usage_row(before, self._previous) if before else None


def _counters() -> HostCounters:
    disk = psutil.disk_io_counters()
    interfaces = psutil.net_io_counters(pernic=True)
    external = [counters for name, counters in interfaces.items() if name not in _loopbacks()]
    return HostCounters(
        [_busy_and_total(times) for times in psutil.cpu_times(percpu=True)],
        disk.read_bytes if disk else 0,
        disk.write_bytes if disk else 0,
        sum(counters.bytes_recv for counters in external),
        sum(counters.bytes_sent for counters in external),
    )


def _busy_and_total(times: object) -> tuple[float, float]:
    # Guest time is part of user and nice already; waiting for a disk (iowait) is idle time.
    seconds = {name: getattr(times, name) for name in type(times)._fields if not name.startswith("guest")}  # type: ignore[attr-defined]
    total = sum(seconds.values())
    return total - seconds["idle"] - seconds.get("iowait", 0.0), total


def _loopbacks() -> set[str]:
    return {name for name, stats in psutil.net_if_stats().items() if "loopback" in stats.flags.split(",")} | {"lo"}


def _usage_row(before: HostCounters, now: HostCounters) -> HostUsage:
    memory, swap, disk = psutil.virtual_memory(), psutil.swap_memory(), psutil.disk_usage(str(settings.DATA_DIR))
    cores = _percentages(before.cores, now.cores)
    percent = round(sum(cores) / len(cores), 2) if cores else 0.0
    return HostUsage(
        step=0,
        cpu_percent=percent,
        cpu_percent_max=percent,
        cores=cores,
        load_1=round(psutil.getloadavg()[0], 2),
        memory_total=memory.total,
        memory_used=memory.total - memory.available,
        memory_used_max=memory.total - memory.available,
        swap_total=swap.total,
        swap_used=swap.used,
        disk_total=disk.total,
        disk_used=disk.used,
        disk_read_bytes=max(0, now.disk_read - before.disk_read),
        disk_write_bytes=max(0, now.disk_write - before.disk_write),
        network_received_bytes=max(0, now.received - before.received),
        network_sent_bytes=max(0, now.sent - before.sent),
    )


def _percentages(before: list[tuple[float, float]], now: list[tuple[float, float]]) -> list[float]:
    # Clamped, because the counters may step back a little when a core goes to sleep.
    pairs = [
        (busy - was_busy, total - was_total)
        for (was_busy, was_total), (busy, total) in zip(before, now, strict=False)
    ]
    return [round(min(100.0, max(0.0, 100 * busy / total)), 1) if total > 0 else 0.0 for busy, total in pairs]


def merge_host_rows(rows: Sequence[HostUsage]) -> HostUsage | None:
    """Merges rows in chronological order into one. Averages are weighted by the points in each row."""
    if not rows:
        return None
    newest, count = rows[-1], sum(row.count for row in rows)
    merged = HostUsage(host_id=newest.host_id, count=count, cores=_mean_cores(rows, count))
    for name in ("memory_total", "swap_total", "disk_total"):
        setattr(merged, name, getattr(newest, name))
    for name in AVERAGED:
        setattr(merged, name, _mean(rows, name))
    for name in AVERAGED_AS_INTEGER:
        setattr(merged, name, round(_mean(rows, name) or 0))
    for name in MAXIMA:
        setattr(merged, name, max(getattr(row, name) for row in rows))
    for name in SUMMED:
        setattr(merged, name, sum(getattr(row, name) for row in rows))
    return merged


def _mean(rows: Sequence[HostUsage], name: str) -> float | None:
    known = [(getattr(row, name), row.count) for row in rows if getattr(row, name) is not None]
    return sum(value * count for value, count in known) / sum(count for _, count in known) if known else None


def _mean_cores(rows: Sequence[HostUsage], count: int) -> list[float]:
    number = min(len(row.cores) for row in rows)
    return [round(sum(row.cores[i] * row.count for row in rows) / count, 1) for i in range(number)]
