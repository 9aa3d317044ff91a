from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.private_files import PrivateConnection, make_folder_private

from .installation import Installation


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    made.chmod(0o755)
    return made


@pytest.mark.parametrize("wide", [0o755, 0o750, 0o777, 0o701])
@pytest.mark.parametrize("content", ["", "secret_key", "monitor.sqlite3", "host_name"])
def test_an_open_data_folder_is_made_private(folder: Path, content: str, wide: int) -> None:
    if content:
        (folder / content).touch()
    folder.chmod(wide)
    make_folder_private(folder)
    assert mode(folder) == 0o700


@pytest.mark.parametrize(("content", "wide"), [("notes.txt", 0o755), ("secret_key", 0o1777), ("", 0o1777)])
def test_a_folder_that_others_use_keeps_its_mode_and_is_refused(folder: Path, content: str, wide: int) -> None:
    if content:
        (folder / content).touch()
    folder.chmod(wide)
    with pytest.raises(ValueError, match="files of other programs"):
        make_folder_private(folder)
    assert folder.stat().st_mode & 0o7777 == wide


def test_a_private_folder_may_hold_any_files(folder: Path) -> None:
    (folder / "notes.txt").touch()
    folder.chmod(0o700)
    make_folder_private(folder)


def test_a_new_database_and_the_files_beside_it_are_private(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    mask = os.umask(0)
    try:
        with closing(sqlite3.connect(path, factory=PrivateConnection)) as opened:
            opened.execute("PRAGMA journal_mode=WAL")
            opened.execute("CREATE TABLE a (b)")
            opened.commit()
            assert {file.name: mode(file) for file in tmp_path.iterdir()} == dict.fromkeys(
                ["new.sqlite3", "new.sqlite3-wal", "new.sqlite3-shm"], 0o600
            )
    finally:
        os.umask(mask)


def test_an_existing_database_in_use_becomes_private(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    with closing(sqlite3.connect(path)) as first:
        first.execute("PRAGMA journal_mode=WAL")
        first.execute("CREATE TABLE a (b)")
        for file in tmp_path.iterdir():
            file.chmod(0o644)
        with closing(sqlite3.connect(path, factory=PrivateConnection)) as second:
            assert second.execute("SELECT count(*) FROM a").fetchone() == (0,)
            assert {mode(file) for file in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("name", [":memory:", "file::memory:?cache=shared"])
def test_a_database_in_memory_creates_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    sqlite3.connect(name, uri=True, factory=PrivateConnection).close()
    assert not list(tmp_path.iterdir())


def test_a_database_that_cannot_be_opened_is_an_operational_error(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        sqlite3.connect(tmp_path / "nowhere" / "x.sqlite3", factory=PrivateConnection)


def test_a_command_makes_the_data_folder_and_the_database_private(installation: Installation) -> None:
    installation.data.chmod(0o755)
    installation.database.chmod(0o644)
    installation.succeed("token", "list")
    assert (mode(installation.data), mode(installation.database)) == (0o700, 0o600)


def test_a_shared_data_folder_is_refused_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    tmp_path.chmod(0o755)
    done = Installation(tmp_path).run("token", "list")
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"Invalid settings: DATA_DIR is '{tmp_path}'; it must be a folder of the monitor "
    )
    assert (done.stderr.count("\n"), mode(tmp_path)) == (1, 0o755)
