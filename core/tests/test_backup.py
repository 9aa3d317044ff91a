from __future__ import annotations

import gzip
import io
import json
import os
import signal
import sqlite3
import tarfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.backup import BackupError, restore
from core.backup.archive import DATABASE, MANIFEST, Manifest, checksums, pack, unpack
from core.backup.databases import SqliteDatabase
from core.backup.restore import _unpack_verified
from core.locks import hold

from .installation import Installation

OTHER_FILES = [b"hello", gzip.compress(b"hello", mtime=0), gzip.compress(bytes(20_000), mtime=0)]


def make_archive(folder: Path, **changes: Any) -> Path:
    """A valid archive of a database and a key; `changes` override its manifest."""
    files = folder / "files"
    files.mkdir()
    (files / DATABASE).write_bytes(os.urandom(200_000))
    (files / "secret_key").write_text("x" * 50)
    facts: dict[str, Any] = {
        "product": "program-monitor",
        "version": "0.1.0",
        "created_at": "2026-11-01T00:00:00+00:00",
        "engine": "sqlite",
        "migrations": {},
        "files": checksums(files),
    }
    pack(folder / "a.tar.gz", files, Manifest(**facts | changes))
    return folder / "a.tar.gz"


def repack(archive: Path, change: Callable[[dict[str, bytes]], Any]) -> None:
    """Unpacks the archive, passes its members to `change`, and packs it again."""
    with tarfile.open(archive) as tar:
        members = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    change(members)
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def refused(archive: Path, folder: Path) -> str:
    """The error message; checks that nothing was written outside of `folder`."""
    into = folder / "into" / "deep"
    into.mkdir(parents=True)
    with pytest.raises(BackupError) as caught:
        unpack(archive, into)
    assert [path.name for path in (folder / "into").iterdir()] == ["deep"]
    return str(caught.value)


# --- The archive ----------------------------------------------------------------------------------------


def test_an_archive_can_be_unpacked(tmp_path: Path) -> None:
    archive, into = make_archive(tmp_path), tmp_path / "into"
    into.mkdir()
    manifest = unpack(archive, into)
    assert manifest.engine == "sqlite"
    assert (into / DATABASE).read_bytes() == (tmp_path / "files" / DATABASE).read_bytes()
    assert {path.stat().st_mode & 0o777 for path in into.iterdir()} == {0o600}


@pytest.mark.parametrize("where", [0.001, 0.3, 0.7, 0.99, 1.0])
def test_every_flipped_bit_is_detected(tmp_path: Path, where: float) -> None:
    archive = make_archive(tmp_path)
    content = bytearray(archive.read_bytes())
    content[min(int(len(content) * where), len(content) - 1)] ^= 0x10
    archive.write_bytes(content)
    assert refused(archive, tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_archive_is_refused(tmp_path: Path, share: float) -> None:
    archive = make_archive(tmp_path)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    assert refused(archive, tmp_path)


@pytest.mark.parametrize("content", OTHER_FILES)
def test_another_file_is_not_a_backup(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar.gz").write_bytes(content)
    assert "not a backup" in refused(tmp_path / "a.tar.gz", tmp_path)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", "evil", "secrets.key/../../evil"])
def test_an_unexpected_member_is_refused(tmp_path: Path, name: str) -> None:
    archive = make_archive(tmp_path)
    repack(archive, lambda members: members.update({name: b"evil"}))
    assert "unexpected file" in refused(archive, tmp_path)


def test_a_path_in_the_manifest_is_refused(tmp_path: Path) -> None:
    files = {DATABASE: {"bytes": 1, "sha256": ""}, "../evil": {"bytes": 1, "sha256": ""}}
    archive = make_archive(tmp_path)
    repack(
        archive, lambda m: m.update({MANIFEST: json.dumps(json.loads(m[MANIFEST]) | {"files": files}).encode()})
    )
    assert "unexpected files" in refused(archive, tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        entry = tarfile.TarInfo(MANIFEST)
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry)
    assert "not a regular file" in refused(archive, tmp_path)


def test_a_member_larger_than_its_size_is_refused(tmp_path: Path) -> None:
    archive = make_archive(tmp_path)
    repack(archive, lambda members: members.update({"secret_key": b"x" * 50_000_000}))
    assert "checksum" in refused(archive, tmp_path)
    assert (tmp_path / "into" / "deep" / "secret_key").stat().st_size < 2_000_000


def test_a_missing_member_is_refused(tmp_path: Path) -> None:
    archive = make_archive(tmp_path)
    repack(archive, lambda members: members.pop(DATABASE))
    assert "database is missing" in refused(archive, tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"files": {}}, {"files": []}, {"migrations": []}, {"files": {"database": {"bytes": "1"}}}, {"nonsense": 1}],
)
def test_an_invalid_manifest_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    archive = make_archive(tmp_path)
    repack(archive, lambda m: m.update({MANIFEST: json.dumps(json.loads(m[MANIFEST]) | change).encode()}))
    assert "manifest" in refused(archive, tmp_path)


def test_an_archive_of_a_newer_format_asks_for_an_update(tmp_path: Path) -> None:
    assert "newer version" in refused(make_archive(tmp_path, format=2), tmp_path)


# --- SQLite ---------------------------------------------------------------------------------------------


def test_a_backup_during_writes_is_consistent_and_finishes(tmp_path: Path) -> None:
    path = tmp_path / "live.sqlite3"
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("CREATE TABLE django_migrations (id)")
        made.execute("CREATE TABLE pair (side TEXT, n INTEGER, padding BLOB)")
        made.executemany("INSERT INTO pair VALUES ('left', 0, ?)", [(os.urandom(4000),)] * 3000)
        made.execute("INSERT INTO pair VALUES ('right', 0, '')")
    stop, writes = threading.Event(), []

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as writer:
            while not stop.is_set():
                writer.executescript("BEGIN IMMEDIATE; UPDATE pair SET n = n + 1; COMMIT;")
                writes.append(time.monotonic())

    thread = threading.Thread(target=write)
    thread.start()
    began = time.monotonic()
    for number in range(3):
        SqliteDatabase(path).dump(tmp_path / f"copy{number}")
        with closing(sqlite3.connect(tmp_path / f"copy{number}")) as copy:
            assert len(copy.execute("SELECT DISTINCT n FROM pair").fetchall()) == 1
    ended = time.monotonic()
    stop.set()
    thread.join()
    assert [moment for moment in writes if began < moment < ended]
    assert not list(tmp_path.glob("copy*-*"))


def test_a_damaged_copy_is_not_restored(tmp_path: Path) -> None:
    for content in (b"", b"not a database" * 100):
        (tmp_path / "copy").write_bytes(content)
        with pytest.raises(BackupError, match="damaged"):
            SqliteDatabase(tmp_path / "none").verify(tmp_path / "copy")


def test_a_leftover_log_is_not_replayed_into_the_restored_file(tmp_path: Path) -> None:
    live, copy = tmp_path / "live.sqlite3", tmp_path / "copy"
    with closing(sqlite3.connect(copy)) as made, made:
        made.execute("CREATE TABLE django_migrations (name)")
        made.execute("INSERT INTO django_migrations VALUES ('restored')")
    live.write_bytes(b"damaged")
    (tmp_path / "live.sqlite3-wal").write_bytes(b"log")
    database = SqliteDatabase(live)
    database.save_present()
    database.replace_with(copy)
    with closing(sqlite3.connect(live)) as opened:
        assert opened.execute("SELECT name FROM django_migrations").fetchall() == [("restored",)]
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("*before-restore*")}
    assert kept == {"live.sqlite3.before-restore": b"damaged", "live.sqlite3.before-restore-wal": b"log"}


# --- The commands ---------------------------------------------------------------------------------------


def test_a_restore_brings_everything_back(installation: Installation, tmp_path: Path) -> None:
    archive = tmp_path / "monitor.tar.gz"
    made = installation.succeed("backup", str(archive))
    assert archive.stat().st_mode & 0o777 == 0o600
    assert made.stdout == ""
    key = (installation.data / "secret_key").read_text()
    installation.add_user("later")
    (installation.data / "secret_key").write_text("another\n")
    installation.succeed("restore", str(archive))
    assert installation.users() == ["alice"]
    assert (installation.data / "secret_key").read_text() == key
    assert (installation.data / "secret_key.before-restore").read_text() == "another\n"
    kept = sqlite3.connect(installation.data / "monitor.sqlite3.before-restore")
    assert kept.execute("SELECT username FROM auth_user ORDER BY 1").fetchall() == [("alice",), ("later",)]
    kept.close()
    actions = installation.sql("SELECT action FROM core_auditentry ORDER BY id")
    assert actions[-1:] == [("backup.restore",)]
    assert not list(installation.data.glob(".restore*"))
    assert not (installation.data / "restore-unfinished").exists()


def test_a_backup_can_be_restored_on_another_machine(installation: Installation, tmp_path: Path) -> None:
    archive, fresh = tmp_path / "monitor.tar.gz", Installation(tmp_path / "fresh")
    installation.succeed("backup", str(archive))
    fresh.succeed("restore", str(archive))
    assert fresh.users() == ["alice"]
    for name in ("secret_key", "monitor.sqlite3"):
        assert (fresh.data / name).exists()
    assert (fresh.data / "secret_key").read_text() == (installation.data / "secret_key").read_text()


def test_a_backup_without_keys_contains_no_keys(installation: Installation, tmp_path: Path) -> None:
    archive = tmp_path / "monitor.tar.gz"
    installation.succeed("backup", str(archive), "--without-keys")
    with tarfile.open(archive) as tar:
        assert tar.getnames() == [MANIFEST, DATABASE]
    key = (installation.data / "secret_key").read_text()
    done = installation.succeed("restore", str(archive))
    assert "has no keys" in done.stderr
    assert (installation.data / "secret_key").read_text() == key


@pytest.mark.parametrize("lock", ["serve", "agent", "web", "jobs", "rotate_keys"])
def test_a_restore_under_a_running_monitor_is_refused(data_dir: Path, lock: str) -> None:
    with hold(lock), pytest.raises(BackupError, match=f"another `{lock}` is running"):
        restore(data_dir / "none.tar.gz")
    assert [path.name for path in data_dir.iterdir()] == ["run"]


def test_a_bad_archive_changes_nothing(installation: Installation, tmp_path: Path) -> None:
    archive = make_archive(tmp_path)  # valid, but its database is random bytes
    before = {path.name: path.read_bytes() for path in installation.data.iterdir() if path.is_file()}
    for path in (archive, tmp_path / "none.tar.gz"):
        done = installation.run("restore", str(path))
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
    assert {path.name: path.read_bytes() for path in installation.data.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"migrations": {"core": ["0001_initial", "9999_from_the_future"]}}, "newer version"),
        ({"engine": "postgresql"}, "postgresql"),
        ({"product": "other"}, "backup of other"),
    ],
)
def test_a_backup_of_another_product_engine_or_version_is_refused(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    archive, work = make_archive(tmp_path, **change), tmp_path / "work"
    work.mkdir()
    with pytest.raises(BackupError, match=reason):
        _unpack_verified(archive, work, SqliteDatabase(tmp_path / "none"))


def test_an_interrupted_restore_can_be_repeated(installation: Installation, tmp_path: Path) -> None:
    """The second run must not overwrite `*.before-restore` with the half-restored state."""
    archive = tmp_path / "monitor.tar.gz"
    installation.succeed("backup", str(archive))
    installation.add_user("precious")
    installation.succeed("restore", str(archive))
    with tarfile.open(archive) as tar:
        manifest = json.loads(tar.extractfile(MANIFEST).read())  # type: ignore[union-attr]
    (installation.data / "restore-unfinished").write_text(manifest["files"][DATABASE]["sha256"])
    assert '"data.restore"' in installation.run("doctor", "--json").stdout
    installation.succeed("restore", str(archive))
    kept = Installation(installation.data)
    (kept.data / "monitor.sqlite3").unlink()
    (kept.data / "monitor.sqlite3.before-restore").rename(kept.data / "monitor.sqlite3")
    assert "precious" in kept.users()


def test_a_failed_backup_keeps_the_older_archive(installation: Installation, tmp_path: Path) -> None:
    archive = tmp_path / "monitor.tar.gz"
    archive.write_text("older")
    installation.database.write_bytes(b"damaged" * 1000)
    (installation.data / "monitor.sqlite3-wal").unlink(missing_ok=True)
    done = installation.run("backup", str(archive))
    assert done.returncode == 1
    assert archive.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "monitor.tar.gz"]


@pytest.mark.parametrize("target", ["nowhere/monitor.tar.gz", "."])
def test_a_target_that_is_not_a_file_is_refused(installation: Installation, tmp_path: Path, target: str) -> None:
    done = installation.run("backup", str(tmp_path / target))
    assert done.returncode == 1
    assert "must be a file in an existing folder" in done.stderr


def test_a_terminated_backup_leaves_nothing_behind(installation: Installation, tmp_path: Path) -> None:
    installation.sql("CREATE TABLE big AS SELECT randomblob(1000000) AS x FROM auth_permission LIMIT 6")
    target = tmp_path / "out"
    target.mkdir()
    process = installation.start("backup", str(target / "monitor.tar.gz"))
    deadline = time.monotonic() + 20
    while not list(target.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert list(target.iterdir()) == []
    assert process.returncode == 128 + signal.SIGTERM
