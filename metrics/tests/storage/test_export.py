"""The export: every row once, in a fixed format, in constant memory."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from metrics.models import ResourceUsageMinute
from metrics.storage import export
from metrics.storage.export import CsvFormat, ExportRecord, ExportSelection, Gzip, JsonLinesFormat
from metrics.storage.tiers import HOUR, MINUTE, RAW, TIERS
from metrics.tests.history import NOON, store_usage, store_usage_rows
from programs.models import Program
from programs.tests.api_rig import define

pytestmark = pytest.mark.django_db


def records(**options: Any) -> list[ExportRecord]:
    selected = ExportSelection(**{"tiers": [MINUTE], "start": 0, "end": NOON * 2, **options})
    return [record for batch in export.batches(selected) for record in batch.records]


def many_minutes(program: Program, count: int) -> None:
    """Copies rows in SQL, because thousands of inserts would take longer than the test."""
    store_usage(MINUTE, program, NOON)
    row = ResourceUsageMinute.objects.get()
    fields = [field.attname for field in row._meta.concrete_fields if field.name != "pk"]
    clones = []
    for number in range(1, count):
        values = {name: getattr(row, name) for name in fields}
        at = NOON + 60 * number
        clones.append(ResourceUsageMinute(**values | {"timestamp": at, "period": MINUTE.period_of(at)}))
    ResourceUsageMinute.objects.bulk_create(clones, batch_size=500)


def _remove_everything() -> int:
    try:
        return ResourceUsageMinute.objects.all().delete()[0]
    finally:
        connection.close()


def test_a_record_has_the_documented_fields() -> None:
    store_usage(MINUTE, define("web"), NOON, cpu=12.5, memory=4096, cpu_min=100, cpu_max=5000, memory_max=8192)
    (line,) = JsonLinesFormat().lines(records()).splitlines()
    assert json.loads(line) == {
        "program": "web",
        "timestamp": "2024-10-04T12:00:00Z",
        "tier": "minute",
        "count": 30,
        "cpu_percent_avg": 12.5,
        "cpu_percent_min": 1.0,
        "cpu_percent_max": 50.0,
        "memory_bytes_avg": 4096,
        "memory_bytes_min": 4096,
        "memory_bytes_max": 8192,
    }


def test_csv_has_the_same_columns_and_escapes_names() -> None:
    for name in ('a, "b"', "=1+1", "한글"):
        store_usage(MINUTE, define(name), NOON)
    text = (CsvFormat().head() + CsvFormat().lines(records())).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == export.FIELDS
    assert [row["program"] for row in rows] == ['a, "b"', "'=1+1", "한글"]


def test_every_row_is_exported_once_across_batches() -> None:
    program = define()
    many_minutes(program, 2 * export.BATCH + 7)
    for ids in (None, [program.pk]):
        stamps = [record[1] for record in records(ids=ids)]
        assert len(stamps) == len(set(stamps)) == 2 * export.BATCH + 7
        assert stamps == sorted(stamps)


def test_batches_have_at_most_a_thousand_rows_and_report_progress() -> None:
    program = define()
    many_minutes(program, 2 * export.BATCH)
    found = list(export.batches(ExportSelection([MINUTE], 0, NOON * 2, [program.pk])))
    assert max(len(batch.records) for batch in found) <= export.BATCH
    done = [batch.done for batch in found]
    assert done == sorted(done) and 0 < done[0] < done[-1] <= 1


def test_an_export_is_filtered_by_program_range_and_tier() -> None:
    web, db = define("web"), define("db")
    store_usage_rows(MINUTE, web, [NOON, NOON + 60, NOON + 120])
    store_usage(MINUTE, db, NOON)
    store_usage(HOUR, db, NOON)
    assert len(records()) == 4
    assert [record[0] for record in records(ids=[db.pk])] == ["db"]
    assert len(records(start=NOON + 60, end=NOON + 120)) == 1
    assert [record[2] for record in records(tiers=TIERS, ids=[db.pk])] == ["minute", "hour"]


def test_an_empty_table_or_range_gives_nothing() -> None:
    assert records() == []
    store_usage(MINUTE, define(), NOON)
    assert records(start=NOON + 1, end=NOON) == records(start=NOON * 3, end=NOON * 4) == []


def test_rows_of_removed_programs_are_left_out() -> None:
    store_usage(MINUTE, 4711, NOON)
    store_usage(MINUTE, define("web"), NOON)
    assert [record[0] for record in records()] == ["web"]


def test_a_first_sample_has_no_cpu_average() -> None:
    store_usage(RAW, define(), NOON, covered_ms=0, cpu_ms=0)
    assert records(tiers=[RAW])[0][4] is None


@pytest.mark.parametrize("text", ["", ",", "week", "minute,week", "RAW"])
def test_an_unknown_tier_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        export.parse_tiers(text)


def test_gzip_contains_the_same_bytes() -> None:
    many_minutes(define(), 1500)
    selected = ExportSelection([MINUTE], 0, NOON * 2)
    plain = b"".join(export.chunks(selected, JsonLinesFormat()))
    packed = b"".join(export.chunks(selected, JsonLinesFormat(), Gzip()))
    assert gzip.decompress(packed) == plain
    assert len(packed) < len(plain) / 5


def test_memory_does_not_grow_with_the_export() -> None:
    many_minutes(define(), 20 * export.BATCH)
    pieces = export.chunks(ExportSelection([MINUTE], 0, NOON * 2), JsonLinesFormat())
    tracemalloc.start()
    sent = sum(len(piece) for piece in islice(pieces, 6))
    early = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    sent += sum(len(piece) for piece in pieces)
    late = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sent > 4_000_000
    assert late - early < 500_000


@pytest.mark.django_db(transaction=True)
def test_a_stalled_client_does_not_block_writers() -> None:
    program = define()
    many_minutes(program, 1200)
    pieces = export.chunks(ExportSelection([MINUTE], 0, NOON * 2), JsonLinesFormat())
    next(pieces), next(pieces)
    assert not connection.in_atomic_block
    with ThreadPoolExecutor(1) as other:
        assert other.submit(_remove_everything).result(timeout=60) > 0
    assert b"".join(pieces) == b""


def test_an_absurd_range_is_skipped_where_nothing_is_stored() -> None:
    program, centuries = define("web"), 16_000_000_000
    store_usage_rows(RAW, program, [NOON, NOON + centuries])
    selected = ExportSelection([RAW], 0, 1 << 40, [program.pk])
    found = list(islice(export.batches(selected), 20))
    assert [len(batch.records) for batch in found if batch.records] == [1, 1]
    assert len(found) < 10


def test_a_search_without_rows_can_be_stopped_between_batches() -> None:
    # One program of two is exported: each part of the other's rows is a batch of its own.
    many_minutes(define("other"), 20)
    first = next(export.batches(ExportSelection([MINUTE], 0, NOON * 2, [define("web").pk])))
    assert first.records == []
