"""Rows of history as lines of text, a thousand at a time: what has been sent is forgotten.

Each batch is a query of its own that is read to its end before anything is sent, so a reader who stops reading
holds no transaction open and blocks nobody.
"""

from __future__ import annotations

import csv
import io
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import orjson
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Max, Min

from core import replica
from core.timeformat import iso_from_unix
from metrics.queries.measures import CPU, MEMORY, OF_ONE, marks
from programs.models import Program

from .tiers import BY_NAME, TIERS, Tier

BATCH = 1000
FIELDS = (
    "program", "timestamp", "tier", "count",
    "cpu_percent_avg", "cpu_percent_min", "cpu_percent_max",
    "memory_bytes_avg", "memory_bytes_min", "memory_bytes_max",
)  # fmt: skip
FIGURES = [measure.aggregates[name] for measure in (CPU, MEMORY) for name in ("avg", "min", "max")]
COLUMNS = ", ".join(["period, program_id, timestamp, count", *(figure.format(**OF_ONE) for figure in FIGURES)])
# A spreadsheet takes a cell that begins so for a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "'")

Record = tuple[Any, ...]  # in the order of FIELDS


@dataclass(frozen=True)
class Selection:
    """Rows of `tiers` with start <= timestamp < end, of the programs `ids` or of all that are there."""

    tiers: Sequence[Tier]
    start: int
    end: int
    ids: Sequence[int] | None = None


@dataclass(frozen=True)
class Batch:
    """`done` is how much of the whole is behind this batch, from 0 to 1."""

    records: Sequence[Record]
    done: float


def tiers_named(text: str) -> list[Tier]:
    """`minute,hour` or `all`. Raises ValidationError."""
    names = [word.strip() for word in text.split(",") if word.strip()]
    if names == ["all"]:
        return list(TIERS)
    if unknown := [name for name in names if name not in BY_NAME]:
        raise ValidationError({"tier": f"There is no tier {unknown[0]}; known: {', '.join(BY_NAME)}, all."})
    if not names:
        raise ValidationError({"tier": f"Name one of {', '.join(BY_NAME)}, or all."})
    return [tier for tier in TIERS if tier.name in names]


def batches(selected: Selection) -> Iterator[Batch]:
    """All records, tier by tier and roughly in the order of time. Programs that are gone are left out."""
    names = dict(Program.objects.values_list("pk", "name"))
    for number, tier in enumerate(selected.tiers):
        for rows, done in _of_tier(tier, selected):
            records = [
                (names[row[1]], iso_from_unix(row[2]), tier.name, *row[3:]) for row in rows if row[1] in names
            ]
            yield Batch(records, (number + done) / len(selected.tiers))


# --- Reading --------------------------------------------------------------------------------------------


def _of_tier(tier: Tier, selected: Selection) -> Iterator[tuple[list[Sequence[Any]], float]]:
    periods = _stored_periods(tier, selected.start, selected.end)
    for piece in _pieces(periods, selected.ids):
        after: Sequence[Any] = (piece[0], -1, -1)
        while rows := replica.read(partial(_next_rows, tier, selected, piece, after)):
            after = rows[-1][:3]
            yield rows, (after[0] - periods[0] + tier.period_seconds) / (len(periods) * tier.period_seconds)
            if len(rows) < BATCH:
                break


def _stored_periods(tier: Tier, start: int, end: int) -> range:
    """Those of the range that can hold rows; the ends of the table's key are quick to find."""
    ends = tier.model._default_manager.aggregate(Min("period"), Max("period"))
    first, last = ends["period__min"], ends["period__max"]
    if first is None or start >= end:
        return range(0)
    return tier.periods(max(start, first), min(end, last + tier.period_seconds))


def _pieces(periods: range, ids: Sequence[int] | None) -> Iterator[range]:
    """With chosen programs, so many periods at once that looking each of them up stays a small query."""
    size = len(periods) if ids is None else max(1, BATCH // max(1, len(ids)))
    for number in range(0, len(periods), max(1, size)):
        yield periods[number : number + size]


def _next_rows(tier: Tier, selected: Selection, piece: range, after: Sequence[Any]) -> list[Sequence[Any]]:
    values: list[Any] = [selected.start, selected.end, *after]
    if selected.ids is None:
        condition = "period <= %s"
        values += [piece[-1]]
    else:
        condition = f"period IN ({marks(len(piece))}) AND program_id IN ({marks(len(selected.ids))})"
        values += [*piece, *selected.ids]
    table = connection.ops.quote_name(tier.model._meta.db_table)
    sql = (
        f"SELECT {COLUMNS} FROM {table} WHERE timestamp >= %s AND timestamp < %s "  # noqa: S608  (names)
        f"AND (period, program_id, timestamp) > (%s, %s, %s) AND {condition} "
        f"ORDER BY period, program_id, timestamp LIMIT {BATCH}"
    )
    with replica.connection_to_read().cursor() as cursor:
        cursor.execute(sql, values)
        rows: list[Sequence[Any]] = cursor.fetchall()
    return rows


# --- Writing --------------------------------------------------------------------------------------------


class Format(ABC):
    media_type: str
    suffix: str

    def head(self) -> bytes:
        return b""

    @abstractmethod
    def lines(self, records: Sequence[Record]) -> bytes: ...


class JsonLines(Format):
    media_type = "application/jsonl"
    suffix = "jsonl"

    def lines(self, records: Sequence[Record]) -> bytes:
        option = orjson.OPT_APPEND_NEWLINE
        return b"".join(
            [orjson.dumps(dict(zip(FIELDS, record, strict=True)), option=option) for record in records]
        )


class Csv(Format):
    """RFC 4180. An apostrophe goes before a name that a spreadsheet would take for a formula."""

    media_type = "text/csv; charset=utf-8"
    suffix = "csv"

    def head(self) -> bytes:
        return ",".join(FIELDS).encode() + b"\r\n"

    def lines(self, records: Sequence[Record]) -> bytes:
        text = io.StringIO()
        csv.writer(text).writerows([(_harmless(record[0]), *record[1:]) for record in records])
        return text.getvalue().encode()


@lru_cache(maxsize=1024)
def _harmless(name: str) -> str:
    return f"'{name}" if name.startswith(FORMULA_STARTS) else name


FORMATS: Mapping[str, Callable[[], Format]] = {"jsonl": JsonLines, "csv": Csv}


def format_named(name: str) -> Format:
    """Raises ValidationError."""
    if name not in FORMATS:
        raise ValidationError({"format": f"There is no format {name}; known: {', '.join(FORMATS)}."})
    return FORMATS[name]()


class Gzip:
    """Compresses as it goes. Fast rather than small: lines like these shrink to a tenth either way."""

    LEVEL = 1

    def __init__(self) -> None:
        self._stream = zlib.compressobj(self.LEVEL, wbits=zlib.MAX_WBITS | 16)

    def add(self, content: bytes) -> bytes:
        return self._stream.compress(content)

    def end(self) -> bytes:
        return self._stream.flush()


def chunks(selected: Selection, written: Format, gzip: Gzip | None = None) -> Iterator[bytes]:
    """The whole export as bytes, a piece for each batch; an empty one where there is nothing to send yet."""
    head = written.head()
    yield gzip.add(head) if gzip else head
    for batch in batches(selected):
        lines = written.lines(batch.records)
        yield gzip.add(lines) if gzip else lines
    if gzip:
        yield gzip.end()
