"""Keeps the data folder and the database unreadable for other users. Does not import Django (settings use it)."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

OTHERS = 0o077
# Files that only a data folder has. `chmod` on any other folder, such as /tmp or /srv, could break other programs.
OWN_FILES = ("secret_key", "host_name", "installation", "secrets.key", "monitor.sqlite3")


def make_folder_private(path: Path) -> None:
    """Sets mode 0700 on the existing folder. Raises ValueError with the reason if it must not or cannot."""
    mode = path.stat().st_mode
    if os.name != "posix" or not mode & OTHERS:
        return
    is_shared = mode & stat.S_ISVTX or not (_is_ours(path) or not any(path.iterdir()))
    if is_shared:
        raise ValueError("other users can open it, and it has files of other programs")
    try:
        path.chmod(0o700)
    except OSError as error:
        raise ValueError(f"other users can open it, and its mode cannot be changed: {error.strerror}") from error
    if path.stat().st_mode & OTHERS:
        raise ValueError("other users can open it, and its file system has no modes")


def _is_ours(path: Path) -> bool:
    return any((path / name).is_file() for name in OWN_FILES)


class PrivateConnection(sqlite3.Connection):
    """A connection to a database file with mode 0600. SQLite gives -wal and -shm the mode of the database."""

    def __init__(self, database: str | Path, *args: Any, **options: Any) -> None:
        if os.name == "posix" and not str(database).startswith((":", "file:")):
            _make_database_private(Path(database))
        super().__init__(database, *args, **options)


def _make_database_private(path: Path) -> None:
    """Raises OperationalError, which Django and its callers handle as an unusable database."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        file = path.with_name(name)
        with contextlib.suppress(FileNotFoundError):
            _remove_access_of_others(file)
    if not path.exists():
        # O_EXCL, since closing a descriptor of an open database would release its locks. SQLite reports failures.
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _remove_access_of_others(file: Path) -> None:
    if file.stat().st_mode & OTHERS:
        try:
            file.chmod(0o600)
        except PermissionError as error:
            raise sqlite3.OperationalError(f"other users can read {file}; run: chmod 600 {file}") from error
