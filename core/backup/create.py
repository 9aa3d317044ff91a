"""Makes an archive while everything runs."""

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

from .archive import DATABASE, KEY_FILES, BackupError, Manifest, describe, pack
from .databases import present_database


def create(target: Path, *, with_keys: bool = True) -> Manifest:
    """Writes the archive to `target`, mode 0600; an older file there is replaced only by a whole one.

    Raises BackupError. Without keys the archive can be given away: stored secrets stay closed in it.
    """
    target = target.absolute()
    if target.is_dir() or not target.parent.is_dir():
        raise BackupError(f"{target} is no file in an existing folder.")
    try:
        # A rotation in between would leave secrets in the copy that none of its keys opens.
        with hold("rotate_keys"), _workplace(target.parent) as work:
            return _create(target, work, with_keys)
    except HeldError as error:
        raise BackupError("Another backup or a rotation of keys is running; try again in a moment.") from error
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"The backup failed: {error}") from error


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """Gone afterwards, also when a signal ends the backup while it is being made: its name is known before."""
    work = folder / f".backup-{secrets.token_hex(8)}"
    try:
        work.mkdir(mode=0o700)
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _create(target: Path, work: Path, with_keys: bool) -> Manifest:
    folder, draft = work / "files", work / "archive"
    folder.mkdir()
    database = present_database()
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
        files=describe(folder),
    )
    draft.touch(mode=0o600)
    pack(draft, folder, manifest)
    _onto_disk(draft)
    draft.replace(target)
    if os.name == "posix":
        _onto_disk(target.parent)
    return manifest


def _copy_key(source: Path, target: Path) -> None:
    if source.exists():  # SECRET_KEY may come from the environment
        target.write_bytes(source.read_bytes())


def applied_migrations() -> dict[str, list[str]]:
    """App → names, in order. The state of the schema, as far as a newer or older program needs to know it."""
    found: dict[str, list[str]] = {}
    for app, name in sorted(MigrationRecorder(connection).applied_migrations()):
        found.setdefault(app, []).append(name)
    return found


def _onto_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
