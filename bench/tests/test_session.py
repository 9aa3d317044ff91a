"""What every benchmark ends with."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.session import Tables, report
from bench.waiting import BenchError

TABLES = [[["what", "ours"], ["sending", "3 ms"]], [["what", "ours"], ["asking", "5 ms"]]]


@pytest.fixture(autouse=True)
def own_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_the_tables_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, places = tmp_path / "tables.json", []

    def measure(place: Path) -> Tables:
        assert place.is_dir()
        places.append(place)
        return TABLES

    assert report(measure, file) == 0
    about, first, second = capsys.readouterr().out.split("\n\n")
    assert about.endswith(" at the start")
    assert ("| sending | 3 ms |" in first, "| asking | 5 ms |" in second) == (True, True)
    assert json.loads(file.read_text())["tables"] == TABLES
    assert not places[0].exists()


def test_what_could_not_be_measured_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def measure(place: Path) -> Tables:
        raise BenchError("nobody answered")

    assert report(measure, tmp_path / "tables.json") == 1
    assert capsys.readouterr().err == "nobody answered\n"
    assert not (tmp_path / "tables.json").exists()
