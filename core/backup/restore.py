"""Restores a backup. Verifies everything it can before it changes anything."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from django.conf import settings
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from core import cache
from core.keyfile import replace_private
from core.locks import HeldError, hold
from core.secrets import parse_keys

from .archive import DATABASE, KEY_FILES, BackupError, Manifest, unpack
from .databases import KEPT_SUFFIX, Database, current_database, preserve_file

LOCKS = ("serve", "agent", "web", "jobs", "rotate_keys")
WORK_PREFIX = ".restore-"
UNFINISHED_FILE = "restore-unfinished"


def restore(source: Path) -> Manifest:
    """Keeps the present database and keys as `*.before-restore`, replaces them, and migrates.

    Raises BackupError: before any change for a bad archive or a running monitor, at the end for a failed
    migration.
    """
    database = current_database()
    try:
        with contextlib.ExitStack() as stack:
            for name in LOCKS:
                stack.enter_context(hold(name))
            for leftover in database.directory().glob(f"{WORK_PREFIX}*"):  # of a killed restore
                shutil.rmtree(leftover)
            work = Path(
                stack.enter_context(tempfile.TemporaryDirectory(dir=database.directory(), prefix=WORK_PREFIX))
            )
            manifest = _unpack_verified(source, work, database)
            _replace(manifest, work, database)
            _migrate()
            (Path(settings.DATA_DIR) / UNFINISHED_FILE).unlink()
    except HeldError as error:
        raise BackupError(f"Stop the monitor first: {error}.") from error
    except cache.CacheError as error:
        raise BackupError(f"Nothing was restored. {error}") from error
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"The restore failed: {error}") from error
    return manifest


def _unpack_verified(source: Path, work: Path, database: Database) -> Manifest:
    manifest = unpack(source, work)
    if manifest.product != settings.PRODUCT:
        raise BackupError(f"This is a backup of {manifest.product}, not of {settings.PRODUCT}.")
    if manifest.engine != database.engine:
        raise BackupError(
            f"The backup has a {manifest.engine} database, but this installation uses {database.engine}."
        )
    _refuse_newer(manifest)
    _check_keys(work)
    database.verify(work / DATABASE)
    return manifest


def _refuse_newer(manifest: Manifest) -> None:
    # This version cannot undo migrations that it does not have.
    loader = MigrationLoader(None)
    known = set(loader.disk_migrations) | set(loader.replacements)
    unknown = [
        f"{app}.{name}"
        for app, names in manifest.migrations.items()
        if app in loader.migrated_apps
        for name in names
        if (app, name) not in known
    ]
    if unknown:
        version = f"A newer version ({manifest.version}) created this backup. Update the monitor first."
        raise BackupError(f"{version} Unknown migrations: {', '.join(unknown[:3])}.")


def _check_keys(work: Path) -> None:
    present = [work / name for name in KEY_FILES if (work / name).exists()]
    if any(not path.read_text().strip() for path in present):
        raise BackupError("A key file in the archive is empty.")
    if (work / "secrets.key").exists():
        try:
            parse_keys((work / "secrets.key").read_text())
        except ValueError as error:
            raise BackupError("secrets.key in the archive has no valid keys.") from error


def _replace(manifest: Manifest, work: Path, database: Database) -> None:
    # The mark survives a power cut. The same restore, run again, then does not overwrite `*.before-restore`.
    data, mark = Path(settings.DATA_DIR), Path(settings.DATA_DIR) / UNFINISHED_FILE
    cache.clear()  # the restored data may have revisions that the present cache already has entries for
    connections.close_all()
    checksum = str(manifest.files[DATABASE]["sha256"])
    if not mark.exists() or mark.read_text().strip() != checksum:
        database.save_present()
        for name in KEY_FILES:
            preserve_file(data / name, data / (name + KEPT_SUFFIX))
        replace_private(mark, checksum)
    database.replace_with(work / DATABASE)
    for name in KEY_FILES:
        if (work / name).exists():
            replace_private(data / name, (work / name).read_text())


def _migrate() -> None:
    # In a new process, because it needs all apps and the restored SECRET_KEY.
    environment = {name: value for name, value in os.environ.items() if name != "MONITOR_APPS"}
    command = [
        sys.executable,
        str(Path(settings.BASE_DIR) / "manage.py"),
        "migrate",
        "--no-input",
        "--verbosity=0",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise BackupError(f"The data is restored, but the migration failed: {last}. Run: manage.py migrate")
