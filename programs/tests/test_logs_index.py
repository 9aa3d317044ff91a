from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from programs.logs import index
from programs.logs.index import MAX_NOTES, NOTE, Notes, TimeIndex
from programs.logs.paths import LogFile
from programs.logs.rotate import rotate

from .logs_rig import BLOCK, append, numbered

NOON = 1_750_000_000.0


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    return LogFile(tmp_path / "7", 0)


def write_at(log: LogFile, when: float, data: bytes, times: TimeIndex) -> None:
    """The program writes, and the tick that comes just then notes it."""
    append(log, data)
    os.utime(log.live, (when, when))
    times.note([log], when + 0.5)


def test_a_line_is_dated_by_the_first_note_after_it(log: LogFile) -> None:
    times = TimeIndex()
    for tick in range(3):
        write_at(log, NOON + 2 * tick, b"0123456789\n" * 2, times)
    notes = Notes.load(log)
    assert [notes.time_at(end) for end in (1, 11, 22, 23, 44, 66)] == [NOON] * 3 + [NOON + 2] * 2 + [NOON + 4]
    assert notes.time_at(67) is None


def test_a_time_finds_the_offset_its_lines_begin_after(log: LogFile) -> None:
    times = TimeIndex()
    for tick in range(3):
        write_at(log, NOON + 2 * tick, b"x\n", times)
    notes = Notes.load(log)
    assert [notes.offset_before(NOON + t) for t in (-9, 0, 0.1, 2, 4, 99)] == [0, 0, 2, 2, 4, 6]
    assert [notes.offset_until(NOON + t) for t in (-9, 0, 0.1, 2, 4, 99)] == [0, 2, 2, 4, 6, 6]


def test_a_log_that_does_not_grow_gets_no_more_notes(log: LogFile) -> None:
    times = TimeIndex()
    write_at(log, NOON, b"x\n", times)
    for tick in range(5):
        times.note([log], NOON + tick)
    assert log.time_index.stat().st_size == NOTE.size


def test_an_unchanged_log_costs_one_stat(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    times = TimeIndex()
    write_at(log, NOON, b"x\n", times)
    monkeypatch.setattr(index, "_note", lambda *_: pytest.fail("looked closer"))
    times.note([log], NOON + 2)


def test_what_was_written_while_nobody_noted_is_dated_by_the_last_write(log: LogFile) -> None:
    append(log, b"while the monitor was away\n")
    os.utime(log.live, (NOON, NOON))
    TimeIndex().note([log], NOON + 86_400)
    assert Notes.load(log).time_at(5) == NOON


def test_offsets_stay_true_across_rotations(log: LogFile) -> None:
    times = TimeIndex()
    for tick in range(6):
        write_at(log, NOON + 2 * tick, numbered(range(500)), times)
        rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    times.note([log], NOON + 12)
    size = len(numbered(range(500)))
    assert list(Notes.load(log).offsets) == [size * (tick + 1) for tick in range(6)]


def test_the_index_stays_small_and_keeps_the_newest_notes_whole(log: LogFile) -> None:
    times, ticks = TimeIndex(), MAX_NOTES + 3000
    append(log, b"")
    for tick in range(ticks):
        with log.live.open("ab") as live:
            live.write(b"x\n")
        os.utime(log.live, (NOON + tick, NOON + tick))
        times.note([log], NOON + tick)
    notes = Notes.load(log)
    assert MAX_NOTES / 2 <= len(notes.offsets) <= MAX_NOTES
    assert notes.time_at(2 * ticks - 2000) == NOON + ticks - 1001
    assert notes.time_at(2) in (NOON, NOON + 1, NOON + 2, NOON + 3)


def test_notes_of_dropped_archives_go_when_the_index_is_full(
    log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "MAX_NOTES", 20)
    times = TimeIndex()
    for tick in range(30):
        write_at(log, NOON + tick, numbered(range(500)), times)
        rotate(log, max_bytes=BLOCK, backups=1, compress=False)
    assert min(Notes.load(log).offsets) > log.archives()[0].start - 15 * len(numbered(range(500)))


def test_a_clock_that_was_ahead_is_forgiven(log: LogFile) -> None:
    times = TimeIndex()
    write_at(log, NOON + 1_000_000, b"x\n", times)
    write_at(log, NOON, b"y\n", times)
    write_at(log, NOON + 2, b"z\n", times)
    assert list(Notes.load(log).times) == [NOON, NOON, NOON + 2]


def test_a_log_cut_from_outside_is_noted_from_its_new_end(log: LogFile) -> None:
    times = TimeIndex()
    write_at(log, NOON, b"x" * 100 + b"\n", times)
    os.truncate(log.live, 0)
    write_at(log, NOON + 2, b"y\n", times)
    notes = Notes.load(log)
    assert (list(notes.offsets), list(notes.times)) == ([2], [NOON + 2])


def test_a_note_torn_by_a_crash_is_dropped(log: LogFile) -> None:
    times = TimeIndex()
    write_at(log, NOON, b"x\n", times)
    with log.time_index.open("ab") as file:
        file.write(b"torn")
    assert list(Notes.load(log).offsets) == [2]
    write_at(log, NOON + 2, b"y\n", times)
    assert list(Notes.load(log).offsets) == [2, 4]


def test_a_log_that_does_not_exist_is_passed_over(log: LogFile) -> None:
    TimeIndex().note([log, LogFile(log.directory, 1)], NOON)
    assert not log.time_index.exists()
    assert Notes.load(log).time_at(1) is None


def test_an_index_that_cannot_be_written_is_reported_once_and_holds_up_no_other(
    log: LogFile, caplog: pytest.LogCaptureFixture
) -> None:
    other = LogFile(log.directory, 1)
    append(log, b"x\n")
    append(other, b"y\n")
    log.time_index.mkdir()
    times = TimeIndex()
    times.note([log, other], NOON)
    assert len(caplog.records) == 1 and "could not be written" in caplog.text
    assert list(Notes.load(other).offsets) == [2]
    log.time_index.rmdir()
    times.note([log, other], NOON + 2)
    assert list(Notes.load(log).offsets) == [2]


def test_unchanged_logs_are_looked_at_in_a_blink(tmp_path: Path) -> None:
    logs = [LogFile(tmp_path, index) for index in range(200)]
    for log in logs:
        append(log, b"x\n")
    times = TimeIndex()
    times.note(logs, NOON)
    before = resource.getrusage(resource.RUSAGE_SELF)
    times.note(logs, NOON + 2)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 0.02
