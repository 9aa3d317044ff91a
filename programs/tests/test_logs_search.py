from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.masking import MASK
from core.secret_mask import SecretMask
from programs.logs import search
from programs.logs.index import TimeIndexWriter
from programs.logs.lines import MAX_LINE_BYTES, Lines
from programs.logs.paths import LogFile
from programs.logs.rotate import rotate
from programs.logs.search import last_lines, read, read_program

from .logs_rig import BLOCK, append, numbered, start_rotator, start_writer

NOON = datetime(2025, 6, 15, 12, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    return LogFile(tmp_path, 0)


@pytest.fixture
def hour(log: LogFile) -> LogFile:
    """One line per minute from 12:00 to 12:59: `minute 0` … `minute 59`."""
    write_minutes(log, range(60))
    return log


def write_minutes(log: LogFile, minutes: range, text: str = "minute %d") -> None:
    writer = TimeIndexWriter()
    for minute in minutes:
        append(log, (text % minute).encode() + b"\n")
        at = (NOON + timedelta(minutes=minute)).timestamp()
        os.utime(log.live, (at, at))
        writer.update([log], at)


def texts(lines: Lines) -> list[str]:
    return [line["text"] for line in lines["lines"]]


def minutes(lines: Lines) -> list[int]:
    return [int(text.split()[1]) for text in texts(lines)]


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def test_the_result_has_the_documented_shape(hour: LogFile) -> None:
    assert read(hour, tail=1) == {
        "lines": [{"time": "2025-06-15T12:59:00.000Z", "text": "minute 59"}],
        "truncated": True,
    }


def test_a_log_that_does_not_exist_has_no_lines(log: LogFile) -> None:
    assert read(log) == {"lines": [], "truncated": False}
    assert read(LogFile(log.directory / "none", 4), q="x", around=NOON) == {"lines": [], "truncated": False}
    assert last_lines(log, 10, 1000) == []


def test_the_newest_lines_come_oldest_first(hour: LogFile) -> None:
    assert minutes(read(hour, tail=3)) == [57, 58, 59]
    assert read(hour)["truncated"] is False and minutes(read(hour)) == list(range(60))


@pytest.mark.parametrize(("tail", "count"), [(0, 0), (-5, 0), (10**9, 5000), (None, 200)])
def test_the_number_of_lines_is_bounded(log: LogFile, tail: int | None, count: int) -> None:
    append(log, numbered(range(6000)))
    assert len(read(log, tail=tail)["lines"]) == count


def test_an_unfinished_last_line_is_shown_too(log: LogFile) -> None:
    append(log, b"done\nPassword: ")
    assert texts(read(log)) == ["done", "Password: "]


def test_a_line_without_index_entry_has_the_time_of_the_last_write(log: LogFile) -> None:
    append(log, b"just now\n")
    os.utime(log.live, (NOON.timestamp(), NOON.timestamp()))
    assert read(log)["lines"][0]["time"] == "2025-06-15T12:00:00.000Z"


def test_lines_without_index_and_live_file_have_no_time(log: LogFile) -> None:
    append(log, numbered(range(3000)))
    rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    log.live.unlink()
    assert read(log, tail=1)["lines"][0]["time"] is None


@pytest.mark.parametrize(
    ("needle", "found"),
    [
        ("ERROR", ["an error", "ÉRROR Error"]),
        ("érror", ["ÉRROR Error"]),
        ("STRASSE", ["Straße"]),
        ("straße", ["Straße"]),
        ("red alert", ["red alert"]),
        (".*", ["a .* b"]),
        ("오류", ["심각한 오류"]),
        ("\n", []),
        ("no such text", []),
    ],
)
def test_search_is_literal_and_ignores_case(log: LogFile, needle: str, found: list[str]) -> None:
    lines = ["an error", "ÉRROR Error", "Straße", "\x1b[31mred\x1b[0m alert", "a .* b", "심각한 오류", "rest"]
    append(log, "\n".join(lines).encode() + b"\n")
    assert texts(read(log, q=needle)) == found


def test_the_newest_matches_are_returned_and_more_are_reported_as_truncated(log: LogFile) -> None:
    append(log, numbered(range(4000)))
    rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    found = read(log, q="#0001", tail=10)
    assert [int(text[1:8]) for text in texts(found)] == list(range(1990, 2000)) and found["truncated"]
    assert read(log, q="#0001", tail=1000)["truncated"] is False


def test_since_and_until_limit_the_times(hour: LogFile) -> None:
    assert minutes(read(hour, since=at(50))) == list(range(50, 60))
    assert minutes(read(hour, until=at(5.5))) == list(range(6))
    assert minutes(read(hour, since=at(9.5), until=at(12))) == [10, 11, 12]
    assert minutes(read(hour, since=at(9.5), until=at(40), q="minute 1")) == list(range(10, 20))
    assert minutes(read(hour, until=at(30), tail=2)) == [29, 30]


def test_times_outside_the_log_match_all_or_nothing(hour: LogFile) -> None:
    assert minutes(read(hour, since=at(-500), until=at(500))) == list(range(60))
    assert texts(read(hour, since=at(500))) == [] == texts(read(hour, until=at(-500)))
    assert texts(read(hour, since=at(30), until=at(20))) == []


def test_a_time_without_a_zone_is_utc(hour: LogFile) -> None:
    assert minutes(read(hour, since=at(58).replace(tzinfo=None))) == [58, 59]


def test_around_returns_as_many_lines_before_the_time_as_after_it(hour: LogFile) -> None:
    assert minutes(read(hour, around=at(30), tail=3)) == [27, 28, 29, 30, 31, 32]
    assert minutes(read(hour, around=at(0), tail=2)) == [0, 1]
    assert minutes(read(hour, around=at(500), tail=2)) == [58, 59]
    assert minutes(read(hour, around=at(30), tail=2, q="9")) == [19, 29, 39, 49]


def test_a_line_half_written_at_the_time_counts_as_after_it(log: LogFile) -> None:
    writer = TimeIndexWriter()
    for minute, data in enumerate((b"first\nsec", b"ond\nthird\n")):
        append(log, data)
        os.utime(log.live, (at(minute).timestamp(),) * 2)
        writer.update([log], at(minute).timestamp())
    assert texts(read(log, around=at(0.5), tail=1)) == ["first", "second"]
    assert texts(read(log, until=at(0.5))) == ["first"]
    assert texts(read(log, since=at(0.5))) == ["second", "third"]


def test_search_reads_compressed_archives(log: LogFile) -> None:
    for minute in range(0, 60, 10):
        write_minutes(log, range(minute, minute + 10), "minute %d " + "x" * 2000)
        rotate(log, max_bytes=3 * 4096, backups=99, compress=True)
    assert len(log.archives()) > 5
    assert minutes(read(log, around=at(30), tail=3)) == [27, 28, 29, 30, 31, 32]
    assert minutes(read(log, since=at(11), until=at(13))) == [11, 12, 13]
    assert minutes(read(log, q="MINUTE 2")) == [2, *range(20, 30)]


def test_a_search_stops_after_its_budget_and_reports_it(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    append(log, b"needle\n" + b"x" * 5_000_000 + b"\nneedle\n")
    assert len(read(log, q="needle")["lines"]) == 2
    monkeypatch.setattr(search, "SCAN_BYTES", 1_000_000)
    assert read(log, q="needle") == {"lines": read(log, tail=1)["lines"], "truncated": True}


def test_lines_of_several_instances_are_merged_by_time(tmp_path: Path) -> None:
    for index in (0, 1, 2):
        write_minutes(LogFile(tmp_path, index), range(index, 30, 3))
    merged = read_program(tmp_path, [0, 1, 2, 9])
    assert minutes(merged) == list(range(30)) and merged["truncated"] is False
    assert [line["instance"] for line in merged["lines"]] == [0, 1, 2] * 10
    assert minutes(read_program(tmp_path, [0, 1, 2], tail=4)) == [26, 27, 28, 29]
    assert minutes(read_program(tmp_path, [0, 1, 2], around=at(15), tail=2)) == [13, 14, 15, 16]
    assert "instance" not in read_program(tmp_path, [1])["lines"][0]


def test_the_last_lines_fit_the_given_size(log: LogFile) -> None:
    append(log, b"one\ntwo\nthree")
    assert [line["text"] for line in last_lines(log, 2, 1000)] == ["two", "three"]
    assert [line["text"] for line in last_lines(log, 9, 11)] == ["two", "three"]
    assert last_lines(log, 9, 3) == []


def test_the_last_lines_end_where_the_crashed_process_stopped_writing(log: LogFile) -> None:
    append(log, b"working\nout of mem")
    end = log.live.stat().st_size
    append(log, b"starting again\n")
    assert [line["text"] for line in last_lines(log, 9, 1000, end=end)] == ["working", "out of mem"]


def test_reading_during_writes_and_rotations_returns_consecutive_lines(log: LogFile) -> None:
    writer = start_writer(log, 100_000, per_write=20, pause=0.0002)
    rotator = start_rotator(log)
    try:
        while writer.poll() is None:
            found = [int(text[1:8]) for text in texts(read(log, tail=3000))[1:-1]]
            assert found == list(range(found[0], found[0] + len(found))) if found else True
    finally:
        for process in (rotator, writer):
            process.kill()
            process.communicate()
    assert len(log.archives()) >= 50


@pytest.mark.parametrize("rest", [b"", b"y" * 600_000])
def test_half_a_secret_at_the_end_of_a_crashed_log_or_of_a_cut_line_is_masked(log: LogFile, rest: bytes) -> None:
    mask = SecretMask(["hunter2-hunter2"])
    append(log, b"x" * (MAX_LINE_BYTES - 9) + b" hunter2-hunter2" + rest + b"\nlast hunter2-h")
    cut, last = (line["text"] for line in last_lines(log, 9, 10**6, mask=mask))
    assert (cut.lstrip("x").rstrip("…").strip(MASK), last) == (" ", f"last {MASK}")
    assert read(log, q="hunter", mask=mask) == {"lines": [], "truncated": False}
