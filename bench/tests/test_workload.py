from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bench.waiting import BenchError
from bench.workload import LogCheck, Sleepers, check_log
from bench.workloads.log_flood import lines


def test_a_complete_log_has_lost_no_line(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(lines(0, 30))

    assert check_log([log], 30) == LogCheck(lost=0, repeated=0, broken=0)


def test_a_line_split_between_two_files_is_whole(tmp_path: Path) -> None:
    old, live = tmp_path / "a.log.1", tmp_path / "a.log"
    old.write_bytes(lines(0, 30)[:1234])
    live.write_bytes(lines(0, 30)[1234:])

    assert check_log([old, live], 30) == LogCheck(lost=0, repeated=0, broken=0)


def test_a_compressed_archive_is_read_like_a_plain_one(tmp_path: Path) -> None:
    archive = tmp_path / "a.log.gz"
    archive.write_bytes(gzip.compress(lines(0, 30)))

    assert check_log([archive], 30).lost == 0


def test_lost_repeated_and_broken_lines_are_counted_separately(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(lines(0, 10) + lines(9, 1) + b"half a line\n" + lines(12, 8))

    assert check_log([log], 20) == LogCheck(lost=2, repeated=1, broken=1)


def test_a_number_that_was_never_written_is_broken(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(lines(0, 6))

    assert check_log([log], 5) == LogCheck(lost=0, repeated=0, broken=1)


def test_an_incomplete_record_is_ignored(tmp_path: Path) -> None:
    sleepers = Sleepers(tmp_path, 1)
    (sleepers.records / "p0").write_text("12 1000\n34 20")

    assert [start.pid for start in sleepers.starts(sleepers.programs[0])] == [12]


def test_waiting_for_programs_that_do_not_start_fails(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"not all of 2 programs started within 0\.1 s"):
        Sleepers(tmp_path, 2).wait_until_started(seconds=0.1)
