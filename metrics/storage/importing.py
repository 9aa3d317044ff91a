"""Imports exported rows. Rows that are already recorded stay, because they hold more than an exported line.

Sums are computed from the exported averages; a histogram only gets the average.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import orjson
from django.conf import settings
from django.db import transaction

from metrics.models import CoarseUsage, ProgramUsage, RecordedProgram
from programs.models import Program

from . import histogram
from .export import BATCH, FIELDS, FORMULA_STARTS
from .history_revision import invalidate_history
from .tiers import BY_NAME, RAW, Tier

LARGEST = 2**62


class MalformedError(Exception):
    """A line that is not a row of an export. The message names the line and the reason."""


@dataclass
class ImportResult:
    """`unknown`: skipped rows by name of a program that does not exist here."""

    rows: int
    unknown: dict[str, int]


def jsonl_rows(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise MalformedError(f"line {number}: not JSON: {error}") from None
            if not isinstance(found, dict):
                raise MalformedError(f"line {number}: not an object")
            yield found


def csv_rows(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    try:
        for row in csv.DictReader(lines):
            name = row.get("program") or ""
            # The export put an apostrophe before names that a spreadsheet would evaluate.
            is_guarded = name.startswith("'") and name[1:].startswith(FORMULA_STARTS)
            yield {**row, "program": name[1:] if is_guarded else name}
    except csv.Error as error:
        raise MalformedError(str(error)) from None


READERS: Mapping[str, Callable[[Iterable[str]], Iterator[Mapping[str, Any]]]] = {
    "jsonl": jsonl_rows,
    "csv": csv_rows,
}


def import_rows(
    rows: Iterable[Mapping[str, Any]], report_progress: Callable[[int], None] = lambda rows: None
) -> ImportResult:
    """Writes the rows in transactions of BATCH and reports the number of rows read after each.

    Raises MalformedError; earlier batches stay.
    """
    ids = dict(Program.objects.values_list("name", "pk"))
    result = ImportResult(0, {})
    numbered = enumerate(rows, 1)
    while batch := list(islice(numbered, BATCH)):
        usages_by_tier: dict[Tier, list[ProgramUsage]] = {}
        for number, row in batch:
            tier, name, values = _parse_row(number, row)
            if name in ids:
                usages_by_tier.setdefault(tier, []).append(_usage(tier, ids[name], values))
            else:
                result.unknown[name] = result.unknown.get(name, 0) + 1
        result.rows += _store(usages_by_tier)
        report_progress(batch[-1][0])
    return result


def _store(usages_by_tier: Mapping[Tier, list[ProgramUsage]]) -> int:
    with transaction.atomic():
        # In the same transaction, or a query in between would cache the old rows under the new revision.
        invalidate_history()
        for tier, usages in usages_by_tier.items():
            tier.model._default_manager.bulk_create(usages, ignore_conflicts=True)
            recorded = {usage.program_id for usage in usages}
            RecordedProgram.objects.bulk_create(
                [RecordedProgram(program_id=program) for program in recorded], ignore_conflicts=True
            )
    return sum(map(len, usages_by_tier.values()))


# --- One row --------------------------------------------------------------------------------------------


def _parse_row(number: int, row: Mapping[str, Any]) -> tuple[Tier, str, dict[str, Any]]:
    """Tier, program name, and values with `timestamp` in Unix seconds. Raises MalformedError."""
    if missing := [name for name in FIELDS if name not in row]:
        raise MalformedError(f"row {number}: {missing[0]} is missing")
    tier = BY_NAME.get(str(row["tier"]))
    if tier is None:
        raise MalformedError(f"row {number}: unknown tier {row['tier']!r}")
    try:
        at = round(_number(datetime.fromisoformat(str(row["timestamp"])).timestamp()) or 0)
        values = {name: _number(row[name]) for name in FIELDS if name not in ("program", "timestamp", "tier")}
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedError(f"row {number}: {error}") from None
    needed = [name for name, value in values.items() if value is None and name != "cpu_percent_avg"]
    if needed or not values["count"]:
        raise MalformedError(f"row {number}: {(needed or ['count'])[0]} must be a number above 0")
    return tier, str(row["program"]), {**values, "timestamp": tier.floor(at) if tier is not RAW else at}


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    number = float(value)
    if not math.isfinite(number) or not 0 <= number < LARGEST:
        raise ValueError(f"{value} is out of range")
    return number


def _usage(tier: Tier, program: int, row: Mapping[str, Any]) -> ProgramUsage:
    count = int(row["count"])
    average = row["cpu_percent_avg"]
    sampled_ms = round(count * settings.SAMPLE_SECONDS * 1000)
    covered_ms = 0 if average is None else min(sampled_ms, tier.width * 1000)
    low, high = round(row["cpu_percent_min"] * 100), round(row["cpu_percent_max"] * 100)
    memory = row["memory_bytes_avg"]
    values = {
        "count": count,
        "covered_ms": covered_ms,
        "cpu_ms": round((average or 0) * covered_ms / 100),
        "cpu_min": low,
        "cpu_max": high,
        "cpu_last": round((average or 0) * 100),
        "memory_sum": round(memory * count),
        "memory_min": round(row["memory_bytes_min"]),
        "memory_max": round(row["memory_bytes_max"]),
        "memory_last": round(memory),
        "threads_max": 0,
    }
    if issubclass(tier.model, CoarseUsage):
        points = max(1, round(sampled_ms / (RAW.width * 1000)))
        values["cpu_histogram"] = histogram.encode({histogram.CPU.bin_of((average or 0) * 100): points})
        values["memory_histogram"] = histogram.encode({histogram.MEMORY.bin_of(memory): points})
    at = row["timestamp"]
    return tier.model(period=tier.period_of(at), program_id=program, timestamp=at, **values)
