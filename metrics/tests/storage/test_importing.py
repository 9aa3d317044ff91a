"""`manage.py metrics export` and `import`."""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from core.access import Role
from core.timeformat import iso_from_unix
from metrics.models import OpenPeriod, RecordedProgram, ResourceUsageMinute
from metrics.storage import export, importing
from metrics.storage.tiers import DAY, HOUR, MINUTE, RAW, TIERS, Tier
from metrics.tests.history import NOON, store_usage, store_usage_rows
from programs.models import Program
from programs.tests.api_rig import Api, define, host
from programs.tests.conftest import full_folder as full_folder

pytestmark = pytest.mark.django_db


def command(*words: str) -> str:
    """Runs the command and returns its stderr."""
    stderr = io.StringIO()
    call_command("metrics", *words, stderr=stderr)
    return stderr.getvalue()


def every_record() -> list[export.ExportRecord]:
    selected = export.ExportSelection(TIERS, 0, NOON * 2)
    return [record for batch in export.batches(selected) for record in batch.records]


def delete_history() -> None:
    for tier in TIERS:
        tier.model._default_manager.all().delete()


@pytest.mark.parametrize("name", ["history.jsonl", "history.csv", "history.jsonl.gz", "history.csv.gz"])
def test_an_export_can_be_imported_again(tmp_path: Path, name: str) -> None:
    for tier in (RAW, MINUTE, HOUR):
        store_usage_rows(
            tier, define(f'=a, "{tier.name}"'), [NOON, NOON + tier.width], cpu=12.34, memory=123_456_789
        )
    before, file = every_record(), str(tmp_path / name)
    assert "6 rows" in command("export", file)
    delete_history()
    assert "6 rows imported" in command("import", file)
    assert set(every_record()) >= set(before)
    assert RecordedProgram.objects.count() == 3


def test_a_gz_file_is_compressed(tmp_path: Path) -> None:
    store_usage(MINUTE, define("web"), NOON)
    command("export", str(tmp_path / "history.jsonl.gz"))
    with gzip.open(tmp_path / "history.jsonl.gz") as file:
        assert json.loads(file.read())["program"] == "web"


def test_existing_rows_are_not_changed_by_an_import(tmp_path: Path) -> None:
    store_usage(MINUTE, define("web"), NOON, cpu=10)
    command("export", str(tmp_path / "history.csv"))
    ResourceUsageMinute.objects.update(cpu_last=777)
    command("import", str(tmp_path / "history.csv"))
    assert ResourceUsageMinute.objects.get().cpu_last == 777


def test_rows_of_unknown_programs_are_reported(tmp_path: Path) -> None:
    store_usage(MINUTE, define("web"), NOON)
    command("export", str(tmp_path / "history.csv"))
    Program.everything.update(name="other")
    stderr = command("import", str(tmp_path / "history.csv"))
    assert "0 rows imported" in stderr and "1 rows skipped: there is no program 'web'" in stderr


def test_an_export_is_filtered_by_program_and_tier(tmp_path: Path) -> None:
    web, db = define("web"), define("db")
    store_usage_rows(MINUTE, web, [NOON, NOON + 60])
    store_usage(HOUR, web, NOON)
    store_usage(MINUTE, db, NOON)
    file = str(tmp_path / "history.csv")
    assert "2 rows" in command("export", file, "--program", "web", "--tier", "minute")
    assert "3 rows" in command("export", file, "--tier", "minute,raw", "--since", "2024-01-01")
    assert "0 rows" in command("export", file, "--until", "2024-01-01")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["export", "history.xml"], "has no known suffix"),
        (["export", "-"], "has no known suffix"),
        (["export", "history.csv", "--program", "nobody"], "no program 'nobody'"),
        (["export", "history.csv", "--tier", "week"], "Unknown tier week"),
        (["import", "/no/such/history.csv"], "No such file"),
    ],
)
def test_invalid_arguments_are_explained(words: list[str], text: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=text):
        command(*words)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_partial_file(full_folder: Path) -> None:
    store_usage(MINUTE, define("web"), NOON)
    with pytest.raises(CommandError, match=r"history\.csv"):
        command("export", str(full_folder / "history.csv"))
    assert list(full_folder.iterdir()) == []


GOOD = {
    "program": "web", "timestamp": "2024-10-04T12:00:00Z", "tier": "minute", "count": 30,
    "cpu_percent_avg": 1, "cpu_percent_min": 1, "cpu_percent_max": 1,
    "memory_bytes_avg": 1, "memory_bytes_min": 1, "memory_bytes_max": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("{", "line 1: not JSON"),
        ("[1]", "line 1: not an object"),
        ("{}", "program is missing"),
        (json.dumps(GOOD | {"timestamp": "2024-10-04T12:00:00"}), "has no time zone; write 2024-10-04T12:00:00Z"),
        (json.dumps(GOOD | {"timestamp": "2024-10-04"}), "has no time zone"),
        (json.dumps(GOOD | {"timestamp": "2999-10-04T12:00:00Z"}), "in the future"),
        (json.dumps(GOOD | {"timestamp": "1969-10-04T12:00:00Z"}), "before 1970"),
        (json.dumps(GOOD | {"count": 2**40}), "count 1099511627776 is out of range"),
        (json.dumps(GOOD | {"count": 0.5}), "whole number"),
        (json.dumps(GOOD | {"count": True}), "out of range"),
        (json.dumps(GOOD | {"cpu_percent_max": 2**31}), "cpu_percent_max 2147483648 is out of range"),
        (json.dumps(GOOD | {"cpu_percent_min": 2}), "cpu_percent_min 2 is above cpu_percent_max 1"),
        (json.dumps(GOOD | {"memory_bytes_min": 5}), "memory_bytes_min 5 is above memory_bytes_max 1"),
        (
            json.dumps(GOOD | {"memory_bytes_avg": 2**53, "memory_bytes_max": 2**53, "count": 10_000_000}),
            "times count is out of range",
        ),
        (json.dumps(GOOD | {"tier": "week"}), "unknown tier 'week'"),
        (json.dumps(GOOD | {"timestamp": "noon"}), "row 1: 'noon' is not a timestamp"),
        (json.dumps(GOOD | {"timestamp": "2024-10-04T12:00:00+25:00"}), "is not a timestamp"),
        (json.dumps(GOOD | {"memory_bytes_avg": 100}), "is not between"),
        (json.dumps(GOOD | {"timestamp": "0001-01-01T00:00:00+14:00"}), "row 1"),
        (json.dumps(GOOD | {"count": 0}), "count must be"),
        (json.dumps(GOOD | {"count": -1}), "out of range"),
        (json.dumps(GOOD | {"memory_bytes_max": 1e300}), "out of range"),
        (json.dumps(GOOD | {"memory_bytes_avg": None}), "memory_bytes_avg must be"),
        (json.dumps(GOOD | {"cpu_percent_avg": "much"}), "row 1"),
        (json.dumps(GOOD | {"cpu_percent_avg": [1]}), "row 1"),
    ],
)
def test_a_malformed_line_is_reported_with_its_number(line: str, text: str) -> None:
    define("web")
    with pytest.raises(importing.MalformedError, match=text):
        importing.import_rows(importing.jsonl_rows([line]))


def test_a_first_sample_without_cpu_is_imported_without(tmp_path: Path) -> None:
    store_usage(RAW, define("web"), NOON, covered_ms=0, cpu_ms=0)
    command("export", str(tmp_path / "history.csv"))
    delete_history()
    command("import", str(tmp_path / "history.csv"))
    assert every_record()[0][4] is None


def test_the_largest_values_are_stored() -> None:
    define("web")
    names = [name for name in GOOD if name.startswith(("cpu", "memory"))]
    row = GOOD | {name: importing.LARGEST[name.rpartition("_")[0]] for name in names} | {"count": 1000}
    assert importing.import_rows(importing.jsonl_rows([json.dumps(row)])).rows == 1
    assert ResourceUsageMinute.objects.get().cpu_max == 1_000_000_000


def rows_at(tier: Tier, timestamps: Iterable[int]) -> list[str]:
    return [
        json.dumps(GOOD | {"tier": tier.name, "timestamp": iso_from_unix(at), "count": 5}) for at in timestamps
    ]


def test_imported_points_are_seen_at_every_step() -> None:
    program = define("web")
    importing.import_rows(importing.jsonl_rows(rows_at(RAW, range(NOON, NOON + 7200, 10))))
    for tier in TIERS:
        rows = tier.model._default_manager.filter(program=program)
        assert sum(rows.values_list("count", flat=True)) == 3600, tier.name
    # So long ago that only days are read.
    assert [value for _, value in read_series(NOON, NOON + 7200, step=3600)] == [1.0]


def read_series(start: int, end: int, step: int) -> list[Any]:
    _, answer = Api(Role.READ)("GET", f"/metrics/{Program.objects.get().pk}?start={start}&end={end}&step={step}")
    series: list[Any] = answer["series"]["cpu_percent"]["avg"]
    return series


def test_a_coarser_row_that_knows_more_is_not_replaced() -> None:
    program = define("web")
    store_usage(HOUR, program, NOON, cpu=50)
    importing.import_rows(importing.jsonl_rows(rows_at(MINUTE, [NOON, NOON + 60])))
    assert HOUR.model._default_manager.get().cpu_max == 5000


def test_imported_rows_of_a_period_that_is_not_over_are_left_to_the_agent() -> None:
    host("testhost")
    define("web")
    now = int(time.time())
    importing.import_rows(importing.jsonl_rows(rows_at(HOUR, [HOUR.floor(now)])))
    assert OpenPeriod.objects.get().tier == "hour"
    assert not DAY.model._default_manager.exists()


def test_an_import_counts_what_it_added(tmp_path: Path) -> None:
    define("web")
    file = tmp_path / "history.jsonl"
    file.write_text("\n".join(rows_at(MINUTE, [NOON, NOON, NOON + 60])))
    assert command("import", str(file)).splitlines() == [
        "2 rows imported", "1 rows skipped: they are recorded already",
    ]  # fmt: skip
    assert "0 rows imported" in command("import", str(file))


def test_an_import_that_stops_says_how_much_it_took(tmp_path: Path) -> None:
    define("web")
    file = tmp_path / "history.jsonl"
    file.write_text("\n".join([*rows_at(RAW, range(NOON, NOON + 10_000, 10)), "{"]))
    stderr = io.StringIO()
    with pytest.raises(CommandError, match="line 1001"):
        call_command("metrics", "import", str(file), stderr=stderr)
    assert "1,000 rows imported" in stderr.getvalue()
    assert ResourceUsageMinute.objects.exists()


@pytest.mark.parametrize("name", ["history.jsonl", "history.csv"])
def test_a_byte_order_mark_is_skipped(tmp_path: Path, name: str) -> None:
    store_usage(MINUTE, define("web"), NOON)
    file = tmp_path / name
    command("export", str(file))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    delete_history()
    assert "1 rows imported" in command("import", str(file))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"program;timestamp\n",
        b",".join([name.encode() for name in export.FIELDS]) + b"\n" + b"1," * 12,
        "program".encode("utf-16"),
    ],
)
def test_a_csv_file_with_other_columns_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "history.csv"
    file.write_bytes(content)
    with pytest.raises(CommandError, match=r"column|UTF-8"):
        command("import", str(file))


def test_a_damaged_gz_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl.gz"
    packed = gzip.compress(b"x" * 1000)
    file.write_bytes(packed[:12] + b"\xff\xff" + packed[14:])
    with pytest.raises(CommandError, match=r"history\.jsonl\.gz"):
        command("import", str(file))
