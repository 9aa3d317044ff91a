"""Generates the same history for this monitor and for Prometheus.

A hundred programs have a week of minutes, and a thousand have 30 days of hours. The coarser tiers follow from
these as in the collector. `main` needs Django set up on an empty prepared database.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from django.db import connection, transaction

from metrics.models import OpenPeriod
from metrics.storage import histogram
from metrics.storage.history_revision import WriterClock
from metrics.storage.tiers import COARSER, DAY, DAY_SECONDS, HOUR, MINUTE, TEN_MINUTES, Tier
from programs.hosts import this_host
from programs.models import Program

DETAILED, ALL = 100, 1000
WEEK, MONTH = 7 * DAY_SECONDS, 30 * DAY_SECONDS
MEMORY = 50_000_000
SAMPLES_PER_MINUTE, POINTS_PER_MINUTE, POINT = 30, 6, 10
COLUMNS = (
    "period", "program_id", "timestamp", "count", "covered_ms", "cpu_ms", "cpu_min", "cpu_max", "cpu_last",
    "memory_sum", "memory_min", "memory_max", "memory_last", "threads_max", "cpu_histogram", "memory_histogram",
)  # fmt: skip

Values = Sequence[int]  # hundredths of a percent, one for each minute


def name_of(number: int) -> str:
    return f"p{number:04}"


def row(tier: Tier, program: int, timestamp: int, values: Values) -> tuple[Any, ...]:
    """The row whose time the values divide into equal parts."""
    minutes = tier.width // 60
    spread: dict[int, int] = {}
    for value in values:
        bin_ = histogram.CPU.bin_of(value)
        spread[bin_] = spread.get(bin_, 0) + POINTS_PER_MINUTE * minutes // len(values)
    memory = MEMORY + program * 1000
    count = SAMPLES_PER_MINUTE * minutes
    return (
        tier.period_of(timestamp), program, timestamp, count, tier.width * 1000,
        sum(values) * tier.width // (10 * len(values)), min(values), max(values), values[-1],
        memory * count, memory, memory, memory, 4, histogram.encode(spread),
        histogram.encode({histogram.MEMORY.bin_of(memory): POINTS_PER_MINUTE * minutes}),
    )  # fmt: skip


def week_rows(tier: Tier, start: int, end: int, weeks: dict[int, Values]) -> Iterator[tuple[Any, ...]]:
    """Rows in chronological order, as an agent would write them."""
    for at in range(tier.ceil(start), tier.floor(end), tier.width):
        first = (at - start) // 60
        for program, values in weeks.items():
            yield row(tier, program, at, values[first : first + tier.width // 60])


def month_rows(tier: Tier, start: int, end: int, months: dict[int, Values]) -> Iterator[tuple[Any, ...]]:
    for at in range(tier.ceil(start), tier.floor(end), tier.width):
        first = (at - start) // HOUR.width
        for program, values in months.items():
            yield row(tier, program, at, values[first : first + tier.width // HOUR.width])


def store(tier: Tier, rows: Iterable[tuple[Any, ...]]) -> None:
    table = tier.model._meta.db_table
    sql = f"INSERT OR REPLACE INTO {table} ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(sql, rows)  # type: ignore[arg-type]  # the driver takes any iterable


def create_programs() -> list[int]:
    made = [Program(name=name_of(number), command="sleep 1") for number in range(ALL)]
    Program.objects.bulk_create(made)
    Program.objects.update(created_at="2020-01-01T00:00:00Z")
    return sorted(Program.objects.values_list("pk", flat=True))


def cpu_values(seed: int, count: int) -> Values:
    """Pseudo-random CPU use around one level, in hundredths of a percent."""
    dice = random.Random(seed)
    level = dice.randint(200, 8000)
    return [max(31, level + dice.randint(-90, 90) + (number % 97) * 5) for number in range(count)]


def points_of(minutes: Values) -> Values:
    """Values for every ten seconds with the same averages."""
    return [minute + offset for minute in minutes for offset in (-30, 30, 10, -10, -20, 20)]


def write_samples(out: TextIO, metric: str, series: dict[int, Values], start: int, step: int) -> None:
    out.write(f"# TYPE {metric} gauge\n")
    for number, values in enumerate(series.values()):
        label = name_of(number)
        for index, value in enumerate(values):
            out.write(f'{metric}{{program="{label}"}} {value / 100} {start + index * step}\n')


def record_agent_state(end: int) -> None:
    """Write the rows that a running agent keeps: the periods it is still building, and its last write."""
    for tier in COARSER:
        OpenPeriod.objects.create(host=this_host(), tier=tier.name, period=tier.period_of(end))
    with transaction.atomic():
        WriterClock(this_host().pk).record_write(end, end)


def main(samples: Path) -> None:
    """Fill the database, and write the CPU averages to `samples` as OpenMetrics."""
    end = MINUTE.floor(int(time.time()))
    programs = create_programs()
    week, month = DAY.floor(end - WEEK), DAY.floor(end - MONTH)
    weeks = {pk: cpu_values(pk, (end - week) // 60) for pk in programs[:DETAILED]}
    months = {pk: cpu_values(pk + ALL, (HOUR.floor(end) - month) // HOUR.width) for pk in programs}
    for tier in (HOUR, DAY):
        store(tier, month_rows(tier, month, HOUR.floor(end), months))
    for tier in (MINUTE, TEN_MINUTES, HOUR, DAY):
        store(tier, week_rows(tier, week, end, weeks))
    record_agent_state(end)
    with samples.open("w") as out:
        first = programs[0]
        write_samples(out, "point_cpu_percent", {first: points_of(weeks[first])}, week, POINT)
        write_samples(out, "minute_cpu_percent", weeks, week, 60)
        write_samples(out, "hour_cpu_percent", months, month, HOUR.width)
        out.write("# EOF\n")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
