"""Imports exported rows. Rows that are already recorded stay, because they hold more than an exported line.

Sums are computed from the exported averages; a histogram only gets the average. Coarser rows are rebuilt over what
was imported.
"""

from __future__ import annotations

import csv
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
from .rebuild import TouchedPeriods
from .tiers import BY_NAME, RAW, Tier

BYTE_ORDER_MARK = "\ufeff"
# The columns are 32 and 64 bits wide; percents are stored in hundredths.
LARGEST = {"count": 10_000_000, "cpu_percent": 10_000_000, "memory_bytes": 2**53}
LARGEST_SUM = 2**63
ROUNDING = 0.01


class MalformedError(Exception):
    """A line that is not a row of an export. The message names the line and the reason."""


@dataclass
class ImportResult:
    """`rows`: what was added. `existing`: skipped, because they are recorded already or twice in the file.

    `unknown`: skipped rows by name of a program that does not exist here.
    """

    rows: int = 0
    existing: int = 0
    unknown: dict[str, int] = field(default_factory=dict)


def jsonl_rows(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(_without_mark(lines), 1):
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
        reader = csv.DictReader(_without_mark(lines))
        if missing := [name for name in FIELDS if name not in (reader.fieldnames or ())]:
            raise MalformedError(f"line 1: the column {missing[0]} is missing; commas separate the columns")
        for number, row in enumerate(reader, 1):
            if None in row:
                raise MalformedError(f"row {number}: has more values than there are columns")
            name = row.get("program") or ""
            # The export put an apostrophe before names that a spreadsheet would evaluate.
            is_guarded = name.startswith("'") and name[1:].startswith(FORMULA_STARTS)
            yield {**row, "program": name[1:] if is_guarded else name}
    except csv.Error as error:
        raise MalformedError(str(error)) from None


def _without_mark(lines: Iterable[str]) -> Iterator[str]:
    # Spreadsheets put it at the start of the file.
    for number, line in enumerate(lines):
        yield line if number else line.removeprefix(BYTE_ORDER_MARK)


READERS: Mapping[str, Callable[[Iterable[str]], Iterator[Mapping[str, Any]]]] = {
    "jsonl": jsonl_rows,
    "csv": csv_rows,
}


def import_rows(
    rows: Iterable[Mapping[str, Any]],
    report_progress: Callable[[int], None] = lambda rows: None,
    result: ImportResult | None = None,
) -> ImportResult:
    """Writes the rows in transactions of BATCH and reports the number of rows read after each.

    Raises MalformedError; earlier batches stay, and are counted in `result`.
    """
    ids = dict(Program.objects.values_list("name", "pk"))
    result = result or ImportResult()
    touched = TouchedPeriods()
    numbered = enumerate(rows, 1)
    try:
        while batch := list(islice(numbered, BATCH)):
            _import_batch(batch, ids, result, touched)
            report_progress(batch[-1][0])
    finally:
        touched.rebuild()
    return result


def _import_batch(
    batch: Iterable[tuple[int, Mapping[str, Any]]],
    ids: Mapping[str, int],
    result: ImportResult,
    touched: TouchedPeriods,
) -> None:
    usages_by_tier: dict[Tier, dict[tuple[int, int], ProgramUsage]] = {}
    unknown: Counter[str] = Counter()
    known = 0
    for number, row in batch:
        tier, name, values = _parse_row(number, row)
        if name in ids:
            usage = _usage(tier, ids[name], values)
            usages_by_tier.setdefault(tier, {}).setdefault((usage.program_id, usage.timestamp), usage)
            known += 1
        else:
            unknown[name] += 1
    added = _store(usages_by_tier)
    for tier, usages in usages_by_tier.items():
        for usage in usages.values():
            touched.add(tier, usage.period, usage.program_id)
    result.rows += added
    result.existing += known - added
    for name, count in unknown.items():
        result.unknown[name] = result.unknown.get(name, 0) + count


def _store(usages_by_tier: Mapping[Tier, Mapping[tuple[int, int], ProgramUsage]]) -> int:
    """Returns the number of rows that did not exist."""
    added = 0
    with transaction.atomic():
        # In the same transaction, or a query in between would cache the old rows under the new revision.
        invalidate_history()
        for tier, usages in usages_by_tier.items():
            existing = _existing(tier, usages.values())
            new = [usage for key, usage in usages.items() if key not in existing]
            added += len(new)
            tier.model._default_manager.bulk_create(new, ignore_conflicts=True)
            recorded = {usage.program_id for usage in usages.values()}
            RecordedProgram.objects.bulk_create(
                [RecordedProgram(program_id=program) for program in recorded], ignore_conflicts=True
            )
    return added


def _existing(tier: Tier, usages: Collection[ProgramUsage]) -> set[tuple[int, int]]:
    rows = tier.model._default_manager.filter(
        period__in={usage.period for usage in usages},
        program__in={usage.program_id for usage in usages},
        timestamp__in={usage.timestamp for usage in usages},
    )
    return set(rows.values_list("program_id", "timestamp"))


# --- One row --------------------------------------------------------------------------------------------


def _parse_row(number: int, row: Mapping[str, Any]) -> tuple[Tier, str, dict[str, Any]]:
    """Tier, program name, and values with `timestamp` in Unix seconds. Raises MalformedError."""
    try:
        if missing := [name for name in FIELDS if name not in row]:
            raise ValueError(f"{missing[0]} is missing")
        tier = BY_NAME.get(str(row["tier"]))
        if tier is None:
            raise ValueError(f"unknown tier {row['tier']!r}")
        at = _timestamp(row["timestamp"])
        values = {
            name: _number(name, row[name]) for name in FIELDS if name not in ("program", "timestamp", "tier")
        }
        _check_values(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedError(f"row {number}: {error}") from None
    return tier, str(row["program"]), {**values, "timestamp": tier.floor(at) if tier is not RAW else at}


def _timestamp(value: Any) -> int:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is not a timestamp such as 2026-03-01T12:00:00Z") from None
    if at.tzinfo is None:
        raise ValueError(f"the timestamp {value} has no time zone; write {at.isoformat()}Z for UTC")
    seconds = round(at.timestamp())
    if seconds < 0:
        raise ValueError(f"the timestamp {value} is before 1970")
    if seconds > time.time():
        raise ValueError(f"the timestamp {value} is in the future")
    return seconds


def _number(name: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    number = float(value)
    largest = next(most for start, most in LARGEST.items() if name.startswith(start))
    if isinstance(value, bool) or not math.isfinite(number) or not 0 <= number <= largest:
        raise ValueError(f"{name} {value} is out of range; use 0 to {largest:,}")
    return number


def _check_values(values: Mapping[str, float | None]) -> None:
    needed = [name for name, value in values.items() if value is None and name != "cpu_percent_avg"]
    count = values["count"]
    if needed or not count:
        raise ValueError(f"{(needed or ['count'])[0]} must be a number above 0")
    if count != int(count):
        raise ValueError(f"count {count:g} must be a whole number")
    for name in ("cpu_percent", "memory_bytes"):
        low, high = values[f"{name}_min"], values[f"{name}_max"]
        if low is not None and high is not None and low > high:
            raise ValueError(f"{name}_min {low:g} is above {name}_max {high:g}")
    low, average, high = (values[f"memory_bytes_{name}"] or 0 for name in ("min", "avg", "max"))
    if not low * (1 - ROUNDING) <= average <= high * (1 + ROUNDING):
        raise ValueError(f"memory_bytes_avg {average:g} is not between minimum and maximum")
    if average * count >= LARGEST_SUM:
        raise ValueError("memory_bytes_avg times count is out of range")


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
