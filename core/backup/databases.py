"""Dumps a database while it is in use, and replaces it while the monitor is stopped."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from django.conf import settings
from django.db import connection, connections

from .archive import BackupError

KEPT_SUFFIX = ".before-restore"
BUSY_SECONDS = 20


class Database(Protocol):
    engine: str

    def directory(self) -> Path:
        """A folder on the same disk as the database, if it is local."""

    def dump(self, target: Path) -> None:
        """Writes a consistent copy without blocking writers."""

    def verify(self, copy: Path) -> None:
        """Raises BackupError when `copy` is damaged."""

    def save_present(self) -> None:
        """Keeps a copy of the present content as `*.before-restore`."""

    def replace_with(self, copy: Path) -> None:
        """Replaces the present content with `copy`, which may be moved."""


def current_database() -> Database:
    return DATABASES[connection.vendor]()


# --- SQLite ---------------------------------------------------------------------------------------------


class SqliteDatabase:
    engine = "sqlite"

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Path(connection.settings_dict["NAME"])

    def directory(self) -> Path:
        return self.path.parent

    def dump(self, target: Path) -> None:
        # All pages in one step: a copy in several steps starts over at each write of another process.
        with closing(self._open(self.path)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, no -wal beside it
        self.verify(target)

    def verify(self, copy: Path) -> None:
        try:
            with closing(self._open(copy)) as opened:
                [problem] = opened.execute("PRAGMA quick_check(1)").fetchone()
                opened.execute("SELECT 1 FROM django_migrations LIMIT 1")
        except sqlite3.DatabaseError as error:
            problem = str(error)
        if problem != "ok":
            raise BackupError(f"The database is damaged: {problem}")

    def save_present(self) -> None:
        # Keeps the files without opening the database: opening a damaged file can destroy its log.
        for suffix in ("", "-wal"):
            preserve_file(self._beside(suffix), self._beside(KEPT_SUFFIX + suffix))

    def replace_with(self, copy: Path) -> None:
        # SQLite would replay a leftover log into the new file.
        for suffix in ("-wal", "-shm"):
            self._beside(suffix).unlink(missing_ok=True)
        copy.replace(self.path)

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _open(self, path: Path) -> sqlite3.Connection:
        # mode=rw does not create a missing file.
        return sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=BUSY_SECONDS)


def preserve_file(path: Path, kept: Path) -> None:
    """Links `path` as `kept`, replacing an older file. Deletes that also if `path` does not exist."""
    kept.unlink(missing_ok=True)
    if not path.exists():
        return
    try:
        os.link(path, kept)
    except OSError:  # a file system without hard links
        shutil.copy2(path, kept)


# --- PostgreSQL -----------------------------------------------------------------------------------------


class PostgresDatabase:
    """Uses PostgreSQL's client programs, which must not be older than the server."""

    engine = "postgresql"

    def directory(self) -> Path:
        return Path(settings.DATA_DIR)

    def dump(self, target: Path) -> None:
        self._run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")

    def verify(self, copy: Path) -> None:
        self._run("pg_restore", "--no-owner", "--no-privileges", f"--file={self._script(copy)}", str(copy))

    def save_present(self) -> None:
        kept = self.directory() / f"database.pgdump{KEPT_SUFFIX}"
        draft = kept.with_suffix(".draft")
        self.dump(draft)
        draft.chmod(0o600)
        draft.replace(kept)

    def replace_with(self, copy: Path) -> None:
        # In one transaction, so that a failure leaves the database unchanged.
        with connection.cursor() as cursor:
            tables = [connection.ops.quote_name(name) for name in connection.introspection.table_names(cursor)]
        connections.close_all()
        drop = f"DROP TABLE IF EXISTS {', '.join(tables)} CASCADE" if tables else "SELECT 1"
        script = self._script(copy)
        options = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
        self._run("psql", *options, f"--command={drop}", f"--file={script}")

    def _script(self, copy: Path) -> Path:
        return copy.with_name(f"{copy.name}.sql")

    def _run(self, *command: str) -> None:
        environment = os.environ | _postgres_environment(connection.settings_dict)
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise BackupError(f"{command[0]} is not installed. Install the PostgreSQL client.") from error
        if done.returncode:
            raise BackupError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")


def _postgres_environment(config: dict[str, Any]) -> dict[str, str]:
    # Not as arguments, which every user of the machine can read.
    names = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGPASSWORD": "PASSWORD", "PGDATABASE": "NAME"}
    given = {name: str(config[key]) for name, key in names.items() if config.get(key)}
    if sslmode := config.get("OPTIONS", {}).get("sslmode"):
        given["PGSSLMODE"] = str(sslmode)
    return given


DATABASES: dict[str, type[Database]] = {"sqlite": SqliteDatabase, "postgresql": PostgresDatabase}
