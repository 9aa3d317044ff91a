from __future__ import annotations

import os
import stat
from pathlib import Path

from programs.logs.paths import Kind, LogFile, open_for_program
from programs.logs.reader import Reader
from programs.logs.rotate import rotate

from .logs_rig import append, numbered


def touch(log: LogFile, start: int, end: int, kind: Kind) -> None:
    log.directory.mkdir(parents=True, exist_ok=True)
    log.archive(start, end, kind).path.write_bytes(b"")


def test_logs_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "7", 0)
    append(log, b"hello\n")
    assert stat.S_IMODE(log.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(log.live.stat().st_mode) == 0o600


def test_a_permissive_umask_does_not_change_the_file_mode(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        append(LogFile(tmp_path / "7", 3), b"hello\n")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "7" / "3.log").stat().st_mode) == 0o600


def test_the_descriptor_only_appends_and_is_not_inherited_by_accident(tmp_path: Path) -> None:
    log = LogFile(tmp_path, 0)
    append(log, b"one\n")
    descriptor = open_for_program(log)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, b"two\n")
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    assert log.live.read_bytes() == b"one\ntwo\n"


def test_a_symbolic_link_in_place_of_a_log_is_replaced(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "0.log").symlink_to(victim)
    append(LogFile(tmp_path, 0), b"line\n")
    assert (tmp_path / "0.log").read_bytes() == b"line\n"
    assert victim.read_text() == "precious"


def test_a_symbolic_link_in_place_of_a_log_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "7").symlink_to(tmp_path / "elsewhere")
    append(LogFile(tmp_path / "7", 0), b"line\n")
    assert (tmp_path / "7" / "0.log").read_bytes() == b"line\n"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_symbolic_link_to_another_file_is_neither_read_nor_rotated(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious\n" * 1000)
    log = LogFile(tmp_path / "7", 0)
    append(log, b"")
    log.live.unlink()
    log.live.symlink_to(victim)
    log.archive(0, 9000, Kind.PLAIN).path.symlink_to(victim)
    assert rotate(log, max_bytes=100, backups=1, compress=True) is None
    with Reader(log) as reader:
        assert (reader.start, reader.end, reader.after(0).data) == (0, 0, b"")
    assert victim.read_bytes() == b"precious\n" * 1000


def test_archives_are_sorted_by_offset(tmp_path: Path) -> None:
    log = LogFile(tmp_path, 0)
    for start, end in ((900, 1000), (0, 100), (100, 900)):
        touch(log, start, end, Kind.PLAIN)
    assert [(archive.start, archive.end) for archive in log.archives()] == [(0, 100), (100, 900), (900, 1000)]


def test_unfinished_and_discarded_files_are_not_archives(tmp_path: Path) -> None:
    log = LogFile(tmp_path, 0)
    for number, kind in enumerate(Kind):
        touch(log, number, number + 1, kind)
    assert [archive.kind for archive in log.archives()] == [Kind.PLAIN, Kind.COMPRESSED]


def test_files_of_other_instances_and_foreign_files_are_ignored(tmp_path: Path) -> None:
    log = LogFile(tmp_path, 1)
    touch(LogFile(tmp_path, 11), 0, 1, Kind.PLAIN)
    for name in ("1.log.old", "1.log.1-2", "1.logs", "1.log.0000000000000000-0000000000000001.bak"):
        (tmp_path / name).write_bytes(numbered([1]))
    assert log.files() == []


def test_a_program_that_never_ran_has_no_files(tmp_path: Path) -> None:
    assert LogFile(tmp_path / "none", 0).archives() == []
