"""Streaming export of history as JSON lines or CSV, in batches of a thousand rows and constant memory.

Each batch is a separate query whose rows are all fetched before they are sent, so a slow client holds no
transaction open.
"""

from __future__ import annotations

import csv
import io
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Max, Min

from core.timeformat import iso_from_unix
from metrics.queries.measures import CPU, MEMORY, SINGLE_ROW_SQL, placeholders
from programs.models import Program

from .tiers import BY_NAME, TIERS, Tier

BATCH = 1000
FIELDS = (
    "program", "timestamp", "tier", "count",
    "cpu_percent_avg", "cpu_percent_min", "cpu_percent_max",
    "memory_bytes_avg", "memory_bytes_min", "memory_bytes_max",
)  # fmt: skip
AGGREGATES = [measure.aggregates[name] for measure in (CPU, MEMORY) for name in ("avg", "min", "max")]
COLUMNS = ", ".join(
    ["period, program_id, timestamp, count", *(sql.format(**SINGLE_ROW_SQL) for sql in AGGREGATES)]
)
# Spreadsheets evaluate a cell that begins with one of these as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "'")

ExportRecord = tuple[Any, ...]  # in the order of FIELDS


@dataclass(frozen=True)
class ExportSelection:
    """Rows of `tiers` with start <= timestamp < end, of the programs `ids` (None: all)."""

    tiers: Sequence[Tier]
    start: int
    end: int
    ids: Sequence[int] | None = None


@dataclass(frozen=True)
class ExportBatch:
    """`done` is the progress after this batch, from 0 to 1."""

    records: Sequence[ExportRecord]
    done: float


def parse_tiers(text: str) -> list[Tier]:
    """Parses `minute,hour` or `all`. Raises ValidationError."""
    names = [word.strip() for word in text.split(",") if word.strip()]
    if names == ["all"]:
        return list(TIERS)
    if unknown := [name for name in names if name not in BY_NAME]:
        raise ValidationError({"tier": f"Unknown tier {unknown[0]}. Use {', '.join(BY_NAME)} or all."})
    if not names:
        raise ValidationError({"tier": f"Use one or more of {', '.join(BY_NAME)}, or all."})
    return [tier for tier in TIERS if tier.name in names]


def batches(selection: ExportSelection) -> Iterator[ExportBatch]:
    """All records, tier by tier in roughly chronological order. Removed programs are left out."""
    names = dict(Program.objects.values_list("pk", "name"))
    for number, tier in enumerate(selection.tiers):
        for rows, done in _tier_batches(tier, selection):
            records = [
                (names[row[1]], iso_from_unix(row[2]), tier.name, *row[3:]) for row in rows if row[1] in names
            ]
            yield ExportBatch(records, (number + done) / len(selection.tiers))


# --- Reading --------------------------------------------------------------------------------------------


def _tier_batches(tier: Tier, selection: ExportSelection) -> Iterator[tuple[list[Sequence[Any]], float]]:
    """Also yields batches without rows, so that the caller can stop while a long range is searched."""
    periods = _stored_periods(tier, selection.start, selection.end)
    next_period = periods[0] if periods else None
    while next_period is not None and next_period in periods:
        part = _next_part(periods, next_period, selection.ids)
        after: Sequence[Any] = (part[0], -1, -1)
        while rows := _next_rows(tier, selection, part, after):
            after = rows[-1][:3]
            yield (
                rows,
                (after[0] - periods[0] + tier.period_seconds) / (periods[-1] - periods[0] + tier.period_seconds),
            )
            if len(rows) < BATCH:
                break
        yield [], (part[-1] - periods[0] + tier.period_seconds) / (periods[-1] - periods[0] + tier.period_seconds)
        # Skip what is not stored: rows may be centuries apart when a clock was wrong.
        next_period = tier.model._default_manager.filter(period__gt=part[-1]).aggregate(Min("period"))[
            "period__min"
        ]


def _stored_periods(tier: Tier, start: int, end: int) -> range:
    ends = tier.model._default_manager.aggregate(Min("period"), Max("period"))
    first, last = ends["period__min"], ends["period__max"]
    if first is None or start >= end:
        return range(0)
    return tier.periods(max(start, first), min(end, last + tier.period_seconds))


def _next_part(periods: range, first: int, ids: Sequence[int] | None) -> range:
    # Few enough (period, program) pairs that seeking each of them stays a small query.
    size = len(periods) if ids is None else max(1, BATCH // max(1, len(ids)))
    return periods[periods.index(first) :][:size]


def _next_rows(
    tier: Tier, selection: ExportSelection, periods: range, after: Sequence[Any]
) -> list[Sequence[Any]]:
    values: list[Any] = [selection.start, selection.end, *after]
    if selection.ids is None:
        condition = "period <= %s"
        values += [periods[-1]]
    else:
        condition = (
            f"period IN ({placeholders(len(periods))}) AND program_id IN ({placeholders(len(selection.ids))})"
        )
        values += [*periods, *selection.ids]
    table = connection.ops.quote_name(tier.model._meta.db_table)
    sql = (
        f"SELECT {COLUMNS} FROM {table} WHERE timestamp >= %s AND timestamp < %s "  # noqa: S608  (names)
        f"AND (period, program_id, timestamp) > (%s, %s, %s) AND {condition} "
        f"ORDER BY period, program_id, timestamp LIMIT {BATCH}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows: list[Sequence[Any]] = cursor.fetchall()
    return rows


# --- Writing --------------------------------------------------------------------------------------------


class ExportFormat(ABC):
    media_type: str
    suffix: str

    def head(self) -> bytes:
        return b""

    @abstractmethod
    def lines(self, records: Sequence[ExportRecord]) -> bytes: ...


class JsonLinesFormat(ExportFormat):
    media_type = "application/jsonl"
    suffix = "jsonl"

    def lines(self, records: Sequence[ExportRecord]) -> bytes:
        option = orjson.OPT_APPEND_NEWLINE
        return b"".join(
            [orjson.dumps(dict(zip(FIELDS, record, strict=True)), option=option) for record in records]
        )


class CsvFormat(ExportFormat):
    """RFC 4180. Names that a spreadsheet would evaluate as a formula get a leading apostrophe."""

    media_type = "text/csv; charset=utf-8"
    suffix = "csv"

    def head(self) -> bytes:
        return ",".join(FIELDS).encode() + b"\r\n"

    def lines(self, records: Sequence[ExportRecord]) -> bytes:
        text = io.StringIO()
        csv.writer(text).writerows([(_escape_formula(record[0]), *record[1:]) for record in records])
        return text.getvalue().encode()


@lru_cache(maxsize=1024)
def _escape_formula(name: str) -> str:
    return f"'{name}" if name.startswith(FORMULA_STARTS) else name


FORMATS: Mapping[str, Callable[[], ExportFormat]] = {"jsonl": JsonLinesFormat, "csv": CsvFormat}


def format_by_name(name: str) -> ExportFormat:
    """Raises ValidationError."""
    if name not in FORMATS:
        raise ValidationError({"format": f"Unknown format {name}. Use {' or '.join(FORMATS)}."})
    return FORMATS[name]()


class Gzip:
    """Streaming gzip."""

    LEVEL = 1  # fastest: these lines shrink to a tenth at any level

    def __init__(self) -> None:
        self._stream = zlib.compressobj(self.LEVEL, wbits=zlib.MAX_WBITS | 16)

    def add(self, content: bytes) -> bytes:
        return self._stream.compress(content)

    def end(self) -> bytes:
        return self._stream.flush()


def chunks(selection: ExportSelection, format_: ExportFormat, gzip: Gzip | None = None) -> Iterator[bytes]:
    """The whole export as bytes, one chunk per batch. Chunks may be empty while gzip buffers."""
    head = format_.head()
    yield gzip.add(head) if gzip else head
    for batch in batches(selection):
        lines = format_.lines(batch.records)
        yield gzip.add(lines) if gzip else lines
    if gzip:
        yield gzip.end()
