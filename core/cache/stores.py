"""Backends of the cache: a separate SQLite file, or Redis."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

MAX_BYTES = 64 * 1024 * 1024
MAX_VALUE_BYTES = 4 * 1024 * 1024  # longer values are not cached
EVICT_EVERY = 100  # puts


class StoredSize(NamedTuple):
    """`oldest` is the Unix time of the oldest entry, if the backend knows it."""

    entries: int
    bytes: int
    oldest: float | None


class Store(Protocol):
    """`failures` are the exceptions it raises when it is not available."""

    failures: tuple[type[Exception], ...]

    def get(self, kind: str, key: str, now: float) -> bytes | None: ...

    def put(self, kind: str, key: str, value: bytes, now: float, seconds: float) -> None: ...

    def clear(self) -> int: ...

    def sizes(self, kinds: Sequence[str], now: float) -> dict[str, StoredSize]: ...


class FileStore:
    """Separate from the database, so that the cache never waits for its only writer and is not backed up.

    Uses no fsync: after a power cut the file may be damaged, and a damaged file is replaced.
    """

    TABLE = (
        "CREATE TABLE IF NOT EXISTS answer (kind TEXT, key TEXT, value BLOB, made REAL, until REAL, "
        "PRIMARY KEY (kind, key)) WITHOUT ROWID"
    )

    failures: tuple[type[Exception], ...] = (OSError, sqlite3.Error)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._puts = 0

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._open()
        return found

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=0.25)
        self._path.chmod(0o600)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(self.TABLE)
        return connection

    def _execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._connection().execute(sql, values)
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError):  # the file is damaged
                self._recreate()
            raise

    def _recreate(self) -> None:
        self._local.connection = None
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def get(self, kind: str, key: str, now: float) -> bytes | None:
        sql = "SELECT value FROM answer WHERE kind = ? AND key = ? AND until > ?"
        row = self._execute(sql, (kind, key, now)).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, kind: str, key: str, value: bytes, now: float, seconds: float) -> None:
        if len(value) > MAX_VALUE_BYTES:
            return
        sql = "INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?)"
        self._execute(sql, (kind, key, value, now, now + seconds))
        self._puts += 1
        if self._puts % EVICT_EVERY == 1:
            self._evict(now)

    def _evict(self, now: float) -> None:
        # Deletes expired entries, then the oldest until the rest fits into MAX_BYTES.
        self._execute("DELETE FROM answer WHERE until <= ?", (now,))
        total = 0
        for made, size in self._execute("SELECT made, length(value) FROM answer ORDER BY made DESC").fetchall():
            total += size
            if total > MAX_BYTES:
                self._execute("DELETE FROM answer WHERE made <= ?", (made,))
                return

    def clear(self) -> int:
        return self._execute("DELETE FROM answer").rowcount

    def sizes(self, kinds: Sequence[str], now: float) -> dict[str, StoredSize]:
        sql = "SELECT kind, count(*), sum(length(value)), min(made) FROM answer WHERE until > ? GROUP BY kind"
        return {kind: StoredSize(*rest) for kind, *rest in self._execute(sql, (now,)).fetchall()}


class RedisStore:
    """For several hosts. Redis expires entries by itself."""

    PREFIX = "program-monitor:answer:"
    TIMEOUT = 1.0

    def __init__(self, url: str) -> None:
        import redis  # takes half a second and 10 MB

        self.failures: tuple[type[Exception], ...] = (OSError, redis.RedisError)
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=self.TIMEOUT, socket_connect_timeout=self.TIMEOUT
        )

    def get(self, kind: str, key: str, now: float) -> bytes | None:
        found: bytes | None = self._redis.get(f"{self.PREFIX}{kind}:{key}")
        return found

    def put(self, kind: str, key: str, value: bytes, now: float, seconds: float) -> None:
        if len(value) <= MAX_VALUE_BYTES:
            self._redis.set(f"{self.PREFIX}{kind}:{key}", value, px=max(1, round(seconds * 1000)))

    def clear(self) -> int:
        keys = list(self._redis.scan_iter(match=f"{self.PREFIX}*", count=1000))
        return int(self._redis.delete(*keys)) if keys else 0

    def sizes(self, kinds: Sequence[str], now: float) -> dict[str, StoredSize]:
        # Redis has no command for the age of an entry.
        return {kind: self._size(kind) for kind in kinds}

    def _size(self, kind: str) -> StoredSize:
        keys = list(self._redis.scan_iter(match=f"{self.PREFIX}{kind}:*", count=1000))
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.strlen(key)
        return StoredSize(len(keys), sum(pipeline.execute()), None)
