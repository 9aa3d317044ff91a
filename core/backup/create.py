"""Creates a backup while the monitor runs."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from core.locks import HeldError, hold

from .archive import DATABASE, KEY_FILES, BackupError, Manifest, checksums, pack
from .databases import current_database


def create(target: Path, *, with_keys: bool = True) -> Manifest:
    """Writes the archive to `target` with mode 0600; replaces an older file atomically. Raises BackupError.

    Without keys, the stored secrets in the archive cannot be decrypted.
    """
    target = target.absolute()
    if target.is_dir() or not target.parent.is_dir():
        raise BackupError(f"{target} must be a file in an existing folder.")
    try:
        # A rotation during the backup could leave secrets in the copy that none of its keys decrypts.
        with hold("rotate_keys"), _work_directory(target.parent) as work:
            return _create(target, work, with_keys)
    except HeldError as error:
        raise BackupError("Another backup or key rotation is running. Try again when it has finished.") from error
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"The backup failed: {error}") from error


@contextmanager
def _work_directory(folder: Path) -> Iterator[Path]:
    # The name is chosen before mkdir, so that a signal during mkdir leaves nothing behind.
    work = folder / f".backup-{secrets.token_hex(8)}"
    try:
        work.mkdir(mode=0o700)
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _create(target: Path, work: Path, with_keys: bool) -> Manifest:
    folder, draft = work / "files", work / "archive"
    folder.mkdir()
    database = current_database()
    database.dump(folder / DATABASE)
    if with_keys:
        for name in KEY_FILES:
            _copy_key(Path(settings.DATA_DIR) / name, folder / name)
    manifest = Manifest(
        product=settings.PRODUCT,
        version=settings.VERSION,
        created_at=timezone.now().isoformat(),
        engine=database.engine,
        migrations=applied_migrations(),
        files=checksums(folder),
    )
    draft.touch(mode=0o600)
    pack(draft, folder, manifest)
    _fsync(draft)
    draft.replace(target)
    if os.name == "posix":
        _fsync(target.parent)
    return manifest


def _copy_key(source: Path, target: Path) -> None:
    if source.exists():  # SECRET_KEY may come from the environment
        target.write_bytes(source.read_bytes())


def applied_migrations() -> dict[str, list[str]]:
    # App → sorted names of its migrations; `restore` compares them with its own.
    found: dict[str, list[str]] = {}
    for app, name in sorted(MigrationRecorder(connection).applied_migrations()):
        found.setdefault(app, []).append(name)
    return found


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
