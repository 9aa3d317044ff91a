"""`manage.py metrics export` and `import`."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from metrics.models import RecordedProgram, ResourceUsageMinute
from metrics.storage import export, importing
from metrics.storage.tiers import HOUR, MINUTE, RAW, TIERS
from metrics.tests.history import NOON, store_usage, store_usage_rows
from programs.models import Program
from programs.tests.api_rig import define
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
    assert every_record() == before
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
        (json.dumps(GOOD | {"tier": "week"}), "unknown tier 'week'"),
        (json.dumps(GOOD | {"timestamp": "noon"}), "row 1"),
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
