"""Rotation with real files and real writing processes, on the disk of the tests and on tmpfs."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from programs.logs import filesystem
from programs.logs.archives import compress
from programs.logs.layout import MAGIC, Stamp
from programs.logs.paths import Kind, LogFile, open_for_program
from programs.logs.reader import Reader
from programs.logs.rotate import rotate
from programs.logs.search import read

from .logs_rig import BLOCK, append, bytes_on_disk, numbered, numbers, start_writer

LINE = len(numbered([0]))


@pytest.fixture(params=[None, "/dev/shm"], ids=["disk", "tmpfs"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LogFile]:
    """tmpfs can only punch holes; most disks can also collapse a range."""
    with tempfile.TemporaryDirectory(dir=request.param or tmp_path) as directory:
        yield LogFile(Path(directory), 0)


def test_a_small_log_is_not_rotated(log: LogFile) -> None:
    assert rotate(log, max_bytes=BLOCK, backups=3, compress=True) is None
    append(log, b"x" * BLOCK)
    assert rotate(log, max_bytes=BLOCK, backups=3, compress=True) is None


def test_a_million_lines_survive_many_rotations_in_order(log: LogFile) -> None:
    writer, rotations, limit = start_writer(log, 1_000_000), 0, 4_000_000
    while writer.poll() is None:
        rotations += rotate(log, max_bytes=limit, backups=100, compress=False) is not None
    while rotate(log, max_bytes=limit, backups=100, compress=True):
        rotations += 1
    assert len(log.archives()) >= 10
    assert rotations >= 3
    assert numbers(log) == list(range(1_000_000))
    for thousand in (0, 57, 499, 640, 999):
        found = read(log, q=f"#{thousand:04d}", tail=5000)
        assert [line["text"][1:8] for line in found["lines"]] == [
            f"{thousand * 1000 + n:07d}" for n in range(1000)
        ]


def test_the_live_file_shrinks_and_offsets_do_not_change(log: LogFile) -> None:
    append(log, numbered(range(2000)))
    rotation = rotate(log, max_bytes=BLOCK, backups=9, compress=False)
    append(log, numbered(range(2000, 2100)))
    assert rotation and rotation.archived == BLOCK * 2 and rotation.lossless
    assert [(a.start, a.end) for a in log.archives()] == [(0, BLOCK), (BLOCK, 2 * BLOCK)]
    assert log.live.stat().st_blocks * 512 <= BLOCK + 3 * 4096
    with Reader(log) as reader:
        assert (reader.start, reader.end) == (0, 2100 * LINE)
    assert numbers(log) == list(range(2100))


def test_at_most_the_given_number_of_archives_is_kept(log: LogFile) -> None:
    for first in range(0, 10_000, 1000):
        append(log, numbered(range(first, first + 1000)))
        rotate(log, max_bytes=BLOCK, backups=3, compress=False)
    kept = numbers(log, first_is_torn=True)
    assert len(log.archives()) == 3
    assert kept == list(range(kept[0], 10_000)) and len(kept) > 3 * BLOCK // LINE


def test_without_backups_the_oldest_part_is_deleted_and_offsets_do_not_change(log: LogFile) -> None:
    append(log, numbered(range(5000)))
    rotation = rotate(log, max_bytes=BLOCK, backups=0, compress=True)
    assert rotation and rotation.discarded == 5 * BLOCK and rotation.archived == 0
    assert log.archives() == []
    with Reader(log) as reader:
        assert (reader.start, reader.end) == (5 * BLOCK, 5000 * LINE)
    kept = numbers(log, first_is_torn=True)
    assert kept == list(range(kept[0], 5000))


def test_lowering_the_number_of_backups_deletes_the_oldest(log: LogFile) -> None:
    append(log, numbered(range(6000)))
    rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    append(log, numbered(range(6000, 8000)))
    rotate(log, max_bytes=BLOCK, backups=1, compress=True)
    append(log, numbered(range(8000, 9000)))
    rotate(log, max_bytes=BLOCK, backups=0, compress=True)
    with Reader(log) as reader:
        assert reader.end == 9000 * LINE
    assert log.archives() == []
    assert numbers(log, first_is_torn=True)[-1] == 8999


def test_compressed_archives_are_plain_gzip(log: LogFile) -> None:
    append(log, numbered(range(30_000)))
    rotate(log, max_bytes=20 * BLOCK, backups=9, compress=True)
    (archive,) = log.archives()
    whole = numbered(range(30_000))[: 20 * BLOCK]
    assert archive.kind is Kind.COMPRESSED and archive.path.stat().st_size < len(whole) / 3
    assert gzip.decompress(archive.path.read_bytes()) == whole
    assert archive.path.stat().st_mode & 0o777 == 0o600
    assert numbers(log) == list(range(30_000))


def test_compression_is_postponed_during_a_flood(log: LogFile) -> None:
    append(log, numbered(range(20_000)))
    rotate(log, max_bytes=10 * BLOCK, backups=9, compress=False)
    (archive, *_) = log.archives()
    assert compress(archive, give_up=lambda: True) is False
    assert [a.kind for a in log.archives()] == [Kind.PLAIN, Kind.PLAIN]
    append(log, numbered(range(20_000, 30_000)))
    rotate(log, max_bytes=10 * BLOCK, backups=9, compress=True)
    assert {a.kind for a in log.archives()} == {Kind.COMPRESSED}
    assert numbers(log) == list(range(30_000))


def test_a_flood_stays_within_its_disk_limit(log: LogFile) -> None:
    limit, backups = 16 * BLOCK, 3
    writer, until = start_writer(log, 1_000_000_000, per_write=500), time.monotonic() + 1.5
    try:
        while time.monotonic() < until or end_of(log) <= 4 * limit * backups:
            before = end_of(log)
            rotate(log, max_bytes=limit, backups=backups, compress=True)
            taken = bytes_on_disk(log.directory)
            assert taken <= limit * (backups + 1) + (end_of(log) - before) + 4 * BLOCK
    finally:
        writer.kill()
        writer.wait()
    kept = numbers(log, first_is_torn=True)[:-1]  # the kill may have cut the last line
    assert kept == list(range(kept[0], kept[-1] + 1))


def end_of(log: LogFile) -> int:
    with Reader(log) as reader:
        return reader.end


FULL_DISK = """
import resource, sys
from pathlib import Path
from programs.logs.paths import LogFile
from programs.logs.rotate import rotate
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
print(rotate(LogFile(Path(sys.argv[1]), 0), max_bytes=65536, backups=50, compress=True))
"""


def rotate_without_room(log: LogFile, room: int) -> str:
    """Rotates in a process whose files cannot exceed `room` bytes."""
    command = [sys.executable, "-c", FULL_DISK, str(log.directory), str(room)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_full_disk_costs_first_archives_and_then_the_oldest_lines(log: LogFile) -> None:
    append(log, numbered(range(2000)))
    rotate(log, max_bytes=BLOCK, backups=50, compress=False)
    append(log, numbered(range(2000, 5000)))
    said = rotate_without_room(log, BLOCK // 2)
    kept = numbers(log, first_is_torn=True)
    assert "archived=0" in said and log.archives() == []
    assert kept == list(range(kept[0], 5000)) and len(kept) * LINE > BLOCK // 2
    assert log.live.stat().st_blocks * 512 <= BLOCK + 3 * 4096
    assert end_of(log) == 5000 * LINE


def test_an_archive_that_cannot_be_compressed_stays_plain(log: LogFile) -> None:
    append(log, os.urandom(3 * BLOCK))
    rotate_without_room(log, BLOCK)  # enough for the archive, not for its gzip framing
    assert [a.kind for a in log.archives()] == [Kind.PLAIN, Kind.PLAIN]
    assert not list(log.directory.glob("*.part"))


def test_without_fallocate_the_rest_is_copied_to_the_front(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "_fallocate", None)
    for first in range(0, 6000, 1500):
        append(log, numbered(range(first, first + 1500)))
        rotation = rotate(log, max_bytes=BLOCK, backups=50, compress=True)
        assert rotation and not rotation.lossless
    assert log.live.stat().st_size <= BLOCK
    assert numbers(log) == list(range(6000))


def test_a_log_moved_to_another_file_system_is_rotated_on(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    append(log, numbered(range(2000)))
    with monkeypatch.context() as patch:
        patch.setattr(filesystem, "collapse_range", filesystem.punch_hole)
        rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    assert log.live.read_bytes().startswith(MAGIC)
    append(log, numbered(range(2000, 4000)))
    rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    assert numbers(log) == list(range(4000))


@pytest.mark.parametrize("forged", [(0, 0), (5, 0), (0, 10**15), (10**15, 10**15)])
def test_a_forged_stamp_in_the_output_is_ignored(log: LogFile, forged: tuple[int, int]) -> None:
    append(log, Stamp(*forged).to_bytes() + b"\n" + numbered(range(3000)))
    assert len(read(log, tail=5000)["lines"]) == 3001
    rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    assert [line["text"][1:8] for line in read(log, tail=3000)["lines"]] == [f"{n:07d}" for n in range(3000)]


def test_a_program_may_truncate_its_own_log(log: LogFile) -> None:
    append(log, numbered(range(3000)))
    rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    before = end_of(log)
    os.truncate(log.live, 0)
    append(log, numbered(range(3000, 5000)))
    rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    assert end_of(log) <= before + 2000 * LINE
    assert numbers(log)[-1999:] == list(range(3001, 5000))  # the first one continues the line cut in two


def test_after_the_live_file_was_deleted_the_log_continues_at_the_end_of_the_archives(log: LogFile) -> None:
    append(log, numbered(range(3000)))
    rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    log.live.unlink()
    assert rotate(log, max_bytes=BLOCK, backups=9, compress=True) is None
    os.close(open_for_program(log))
    with Reader(log) as reader:
        assert reader.end == reader.live_start == log.archives()[-1].end


def test_a_limit_below_one_disk_block_still_rotates(log: LogFile) -> None:
    append(log, numbered(range(3000)))
    for _ in range(20):
        rotate(log, max_bytes=100, backups=1000, compress=False)
    assert numbers(log) == list(range(3000))
    assert end_of(log) - log.archives()[-1].end <= 2 * 4096
