"""Puts an archive back. Everything that can be known to be wrong is found before anything is touched."""

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
from .databases import KEPT, Database, keep_file, present_database

WRITERS = ("serve", "agent", "web", "jobs", "rotate_keys")
WORK = ".restore-"
UNFINISHED = "restore-unfinished"


def restore(source: Path) -> Manifest:
    """Replaces database and keys with those of `source`, keeps what was there as `*.before-restore`, migrates.

    Raises BackupError: before anything is touched for a bad archive or a running monitor, and at the end
    when the migrations fail.
    """
    database = present_database()
    try:
        with contextlib.ExitStack() as stack:
            for name in WRITERS:
                stack.enter_context(hold(name))
            for left in database.home().glob(f"{WORK}*"):  # by a restore that was killed
                shutil.rmtree(left)
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=database.home(), prefix=WORK)))
            manifest = _checked(source, work, database)
            _replace(manifest, work, database)
            if problem := migrate():
                raise BackupError(f"The data is back, but could not be brought to this version: {problem}")
            (Path(settings.DATA_DIR) / UNFINISHED).unlink()
    except HeldError as error:
        raise BackupError(f"Stop it first: {error}.") from error
    except cache.CacheError as error:
        raise BackupError(f"Nothing was restored. {error}") from error
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"The restore failed: {error}") from error
    return manifest


def _checked(source: Path, work: Path, database: Database) -> Manifest:
    manifest = unpack(source, work)
    if manifest.product != settings.PRODUCT:
        raise BackupError(f"This is a backup of {manifest.product}, not of {settings.PRODUCT}.")
    if manifest.engine != database.engine:
        raise BackupError(
            f"The backup holds a {manifest.engine} database; this installation has {database.engine}."
        )
    _refuse_newer(manifest)
    _check_keys(work)
    database.verify(work / DATABASE)
    return manifest


def _refuse_newer(manifest: Manifest) -> None:
    """A schema this version does not know cannot be migrated back."""
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
        version = f"The backup was made by a newer version ({manifest.version}); update this one first."
        raise BackupError(f"{version} It knows {', '.join(unknown[:3])}.")


def _check_keys(work: Path) -> None:
    present = [work / name for name in KEY_FILES if (work / name).exists()]
    if any(not path.read_text().strip() for path in present):
        raise BackupError("A key in the archive is empty.")
    if (work / "secrets.key").exists():
        try:
            parse_keys((work / "secrets.key").read_text())
        except ValueError as error:
            raise BackupError("secrets.key in the archive holds no usable keys.") from error


def _replace(manifest: Manifest, work: Path, database: Database) -> None:
    """From here on a power cut leaves a mark; the same restore, run again, then keeps what was kept first."""
    data, mark = Path(settings.DATA_DIR), Path(settings.DATA_DIR) / UNFINISHED
    cache.clear()  # what was answered from the data that goes must not be taken for answers from what comes
    connections.close_all()
    stamp = str(manifest.files[DATABASE]["sha256"])
    if not mark.exists() or mark.read_text().strip() != stamp:
        database.keep()
        for name in KEY_FILES:
            keep_file(data / name, data / (name + KEPT))
        replace_private(mark, stamp)
    database.put_back(work / DATABASE)
    for name in KEY_FILES:
        if (work / name).exists():
            replace_private(data / name, (work / name).read_text())


def migrate(**changed: str) -> str:
    """In a process of its own: with every app installed, the SECRET_KEY of now and `changed` settings.

    Returns why it failed; an empty text if it did not.
    """
    environment = {name: value for name, value in os.environ.items() if name != "MONITOR_APPS"} | changed
    command = [
        sys.executable,
        str(Path(settings.BASE_DIR) / "manage.py"),
        "migrate",
        "--no-input",
        "--verbosity=0",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""
