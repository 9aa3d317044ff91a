from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from programs.logs import index
from programs.logs.index import ENTRY, MAX_ENTRIES, TimeIndex, TimeIndexWriter
from programs.logs.paths import LogFile
from programs.logs.rotate import rotate

from .logs_rig import BLOCK, append, numbered

NOON = 1_750_000_000.0


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    return LogFile(tmp_path / "7", 0)


def write_at(log: LogFile, when: float, data: bytes, writer: TimeIndexWriter) -> None:
    """Appends `data` and updates the index half a second later."""
    append(log, data)
    os.utime(log.live, (when, when))
    writer.update([log], when + 0.5)


def test_the_time_of_a_line_is_that_of_the_first_entry_after_it(log: LogFile) -> None:
    writer = TimeIndexWriter()
    for tick in range(3):
        write_at(log, NOON + 2 * tick, b"0123456789\n" * 2, writer)
    times = TimeIndex.load(log)
    assert [times.time_at(end) for end in (1, 11, 22, 23, 44, 66)] == [NOON] * 3 + [NOON + 2] * 2 + [NOON + 4]
    assert times.time_at(67) is None


def test_a_time_is_mapped_to_the_offset_before_its_lines(log: LogFile) -> None:
    writer = TimeIndexWriter()
    for tick in range(3):
        write_at(log, NOON + 2 * tick, b"x\n", writer)
    times = TimeIndex.load(log)
    assert [times.offset_before(NOON + t) for t in (-9, 0, 0.1, 2, 4, 99)] == [0, 0, 2, 2, 4, 6]
    assert [times.offset_until(NOON + t) for t in (-9, 0, 0.1, 2, 4, 99)] == [0, 2, 2, 4, 6, 6]


def test_a_log_that_does_not_grow_gets_no_more_entries(log: LogFile) -> None:
    writer = TimeIndexWriter()
    write_at(log, NOON, b"x\n", writer)
    for tick in range(5):
        writer.update([log], NOON + tick)
    assert log.time_index.stat().st_size == ENTRY.size


def test_an_unchanged_log_costs_one_stat(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = TimeIndexWriter()
    write_at(log, NOON, b"x\n", writer)
    monkeypatch.setattr(index, "_record", lambda *_: pytest.fail("opened the log"))
    writer.update([log], NOON + 2)


def test_lines_written_without_an_agent_get_the_time_of_the_last_write(log: LogFile) -> None:
    append(log, b"while the monitor was away\n")
    os.utime(log.live, (NOON, NOON))
    TimeIndexWriter().update([log], NOON + 86_400)
    assert TimeIndex.load(log).time_at(5) == NOON


def test_offsets_stay_valid_across_rotations(log: LogFile) -> None:
    writer = TimeIndexWriter()
    for tick in range(6):
        write_at(log, NOON + 2 * tick, numbered(range(500)), writer)
        rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    writer.update([log], NOON + 12)
    size = len(numbered(range(500)))
    assert list(TimeIndex.load(log).offsets) == [size * (tick + 1) for tick in range(6)]


def test_the_index_stays_small_and_keeps_all_of_the_newest_entries(log: LogFile) -> None:
    writer, ticks = TimeIndexWriter(), MAX_ENTRIES + 3000
    append(log, b"")
    for tick in range(ticks):
        with log.live.open("ab") as live:
            live.write(b"x\n")
        os.utime(log.live, (NOON + tick, NOON + tick))
        writer.update([log], NOON + tick)
    times = TimeIndex.load(log)
    assert MAX_ENTRIES / 2 <= len(times.offsets) <= MAX_ENTRIES
    assert times.time_at(2 * ticks - 2000) == NOON + ticks - 1001
    assert times.time_at(2) in (NOON, NOON + 1, NOON + 2, NOON + 3)


def test_a_full_index_drops_the_entries_of_deleted_archives(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MAX_ENTRIES", 20)
    writer = TimeIndexWriter()
    for tick in range(30):
        write_at(log, NOON + tick, numbered(range(500)), writer)
        rotate(log, max_bytes=BLOCK, backups=1, compress=False)
    assert min(TimeIndex.load(log).offsets) > log.archives()[0].start - 15 * len(numbered(range(500)))


def test_times_in_the_future_are_corrected_after_the_clock_was_set_back(log: LogFile) -> None:
    writer = TimeIndexWriter()
    write_at(log, NOON + 1_000_000, b"x\n", writer)
    write_at(log, NOON, b"y\n", writer)
    write_at(log, NOON + 2, b"z\n", writer)
    assert list(TimeIndex.load(log).times) == [NOON, NOON, NOON + 2]


def test_a_truncated_log_is_indexed_from_its_new_end(log: LogFile) -> None:
    writer = TimeIndexWriter()
    write_at(log, NOON, b"x" * 100 + b"\n", writer)
    os.truncate(log.live, 0)
    write_at(log, NOON + 2, b"y\n", writer)
    times = TimeIndex.load(log)
    assert (list(times.offsets), list(times.times)) == ([2], [NOON + 2])


def test_an_incomplete_entry_left_by_a_crash_is_dropped(log: LogFile) -> None:
    writer = TimeIndexWriter()
    write_at(log, NOON, b"x\n", writer)
    with log.time_index.open("ab") as file:
        file.write(b"torn")
    assert list(TimeIndex.load(log).offsets) == [2]
    write_at(log, NOON + 2, b"y\n", writer)
    assert list(TimeIndex.load(log).offsets) == [2, 4]


def test_a_log_that_does_not_exist_is_skipped(log: LogFile) -> None:
    TimeIndexWriter().update([log, LogFile(log.directory, 1)], NOON)
    assert not log.time_index.exists()
    assert TimeIndex.load(log).time_at(1) is None


def test_an_index_that_cannot_be_written_is_logged_once_and_does_not_block_others(
    log: LogFile, caplog: pytest.LogCaptureFixture
) -> None:
    other = LogFile(log.directory, 1)
    append(log, b"x\n")
    append(other, b"y\n")
    log.time_index.mkdir()
    writer = TimeIndexWriter()
    writer.update([log, other], NOON)
    assert len(caplog.records) == 1 and "could not be written" in caplog.text
    assert list(TimeIndex.load(other).offsets) == [2]
    log.time_index.rmdir()
    writer.update([log, other], NOON + 2)
    assert list(TimeIndex.load(log).offsets) == [2]


def test_updating_200_unchanged_logs_takes_less_than_20_ms(tmp_path: Path) -> None:
    logs = [LogFile(tmp_path, index) for index in range(200)]
    for log in logs:
        append(log, b"x\n")
    writer = TimeIndexWriter()
    writer.update(logs, NOON)
    before = resource.getrusage(resource.RUSAGE_SELF)
    writer.update(logs, NOON + 2)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 0.02
