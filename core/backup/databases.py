"""How each kind of database is copied out while it is in use, and put back while it is not."""

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

KEPT = ".before-restore"
BUSY_SECONDS = 20


class Database(Protocol):
    engine: str

    def home(self) -> Path:
        """A folder on the disk where the database lies, or nearest to it."""

    def dump(self, target: Path) -> None:
        """A consistent copy; writers go on meanwhile."""

    def verify(self, copy: Path) -> None:
        """Raises BackupError when `copy` cannot be put back."""

    def keep(self) -> None:
        """Saves the present content beside it, as `*.before-restore`."""

    def put_back(self, copy: Path) -> None:
        """Replaces the present content with `copy`, which is used up."""


def present_database() -> Database:
    return DATABASES[connection.vendor]()


# --- SQLite ---------------------------------------------------------------------------------------------


class SqliteDatabase:
    engine = "sqlite"

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Path(connection.settings_dict["NAME"])

    def home(self) -> Path:
        return self.path.parent

    def dump(self, target: Path) -> None:
        """All pages in one step: a copy in several would begin anew at each write of another process."""
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

    def keep(self) -> None:
        """File and log as they are: opening a damaged file, a good reason to restore, can cost its log."""
        for suffix in ("", "-wal"):
            keep_file(self._beside(suffix), self._beside(KEPT + suffix))

    def put_back(self, copy: Path) -> None:
        # SQLite would replay a log that is left behind into whatever file carries the name.
        for suffix in ("-wal", "-shm"):
            self._beside(suffix).unlink(missing_ok=True)
        copy.replace(self.path)

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _open(self, path: Path) -> sqlite3.Connection:
        """Without making the file when it is absent."""
        return sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=BUSY_SECONDS)


def keep_file(path: Path, kept: Path) -> None:
    """Gives `path` a second name; an older file of that name goes, also when there is nothing to keep now."""
    kept.unlink(missing_ok=True)
    if not path.exists():
        return
    try:
        os.link(path, kept)
    except OSError:  # a file system without hard links
        shutil.copy2(path, kept)


# --- PostgreSQL -----------------------------------------------------------------------------------------


class PostgresDatabase:
    """Through PostgreSQL's own programs, which must be of the server's version or newer."""

    engine = "postgresql"

    def home(self) -> Path:
        return Path(settings.DATA_DIR)

    def dump(self, target: Path) -> None:
        self._run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")

    def verify(self, copy: Path) -> None:
        self._run("pg_restore", "--no-owner", "--no-privileges", f"--file={self._script(copy)}", str(copy))

    def keep(self) -> None:
        kept = self.home() / f"database.pgdump{KEPT}"
        draft = kept.with_suffix(".draft")
        self.dump(draft)
        draft.chmod(0o600)
        draft.replace(kept)

    def put_back(self, copy: Path) -> None:
        """In one transaction: a failure anywhere leaves everything as it was."""
        with connection.cursor() as cursor:
            tables = [connection.ops.quote_name(name) for name in connection.introspection.table_names(cursor)]
        connections.close_all()
        drop = f"DROP TABLE IF EXISTS {', '.join(tables)} CASCADE;" if tables else ""
        drop += "DROP FUNCTION IF EXISTS core_number_at_commit() CASCADE"  # the dump creates it again
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
            raise BackupError(f"{command[0]} is not installed; it comes with PostgreSQL's client.") from error
        if done.returncode:
            raise BackupError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")


def _postgres_environment(config: dict[str, Any]) -> dict[str, str]:
    """Not as arguments: those can be read by every user of the machine."""
    names = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGPASSWORD": "PASSWORD", "PGDATABASE": "NAME"}
    given = {name: str(config[key]) for name, key in names.items() if config.get(key)}
    if sslmode := config.get("OPTIONS", {}).get("sslmode"):
        given["PGSSLMODE"] = str(sslmode)
    return given


DATABASES: dict[str, type[Database]] = {"sqlite": SqliteDatabase, "postgresql": PostgresDatabase}
