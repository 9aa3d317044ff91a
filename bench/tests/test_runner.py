from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.runner import Tables, report
from bench.waiting import BenchError

TABLES = [[["what", "ours"], ["sending", "3 ms"]], [["what", "ours"], ["querying", "5 ms"]]]


@pytest.fixture(autouse=True)
def own_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_the_tables_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, directories = tmp_path / "tables.json", []

    def measure(directory: Path) -> Tables:
        assert directory.is_dir()
        directories.append(directory)
        return TABLES

    assert report(measure, file) == 0
    about, first, second = capsys.readouterr().out.split("\n\n")
    assert about.endswith(" at the start")
    assert ("| sending | 3 ms |" in first, "| querying | 5 ms |" in second) == (True, True)
    assert json.loads(file.read_text())["tables"] == TABLES
    assert not directories[0].exists()


def test_an_error_is_reported_instead_of_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def measure(directory: Path) -> Tables:
        raise BenchError("no answer")

    assert report(measure, tmp_path / "tables.json") == 1
    assert capsys.readouterr().err == "no answer\n"
    assert not (tmp_path / "tables.json").exists()
