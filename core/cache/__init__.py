"""A cache of expensive results, shared by all processes and kept across restarts.

A key contains the revision of the data behind the result, so nothing has to be invalidated: after a change,
callers use another key. docs/adr/0012-cache.md says which results are cached and why.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson
import structlog
from django.conf import settings

from .stores import FileStore, RedisStore, Store, StoredSize

log = structlog.get_logger(__name__)
KINDS = {"metrics": "CACHE_METRICS_SECONDS"}  # kind → the setting with its lifetime; 0 turns it off


class CacheError(Exception):
    """Why the cache cannot be cleared; shown to the user."""


@dataclass
class CacheCounts:
    """Of this process, since it started."""

    hits: int = 0
    misses: int = 0
    failures: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *, hits: int = 0, misses: int = 0, failures: int = 0) -> None:
        with self.lock:
            self.hits += hits
            self.misses += misses
            self.failures += failures


counts = {kind: CacheCounts() for kind in KINDS}


@cache
def store() -> Store:
    if settings.REDIS_URL:
        return RedisStore(settings.REDIS_URL)
    return FileStore(settings.DATA_DIR / "cache.sqlite3")


def key_of(*parts: Any) -> str:
    """A key for any JSON values; they should include the revision of the data."""
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def get(kind: str, key: str) -> Any:
    """The cached value as JSON data, or None."""
    if not lifetime_seconds(kind):
        return None
    found: bytes | None = None
    try:
        found = store().get(kind, key, time.time())
    except store().failures as error:
        _count_failure(kind, error)
    counts[kind].add(hits=found is not None, misses=found is None)
    return None if found is None else orjson.loads(found)


def put(kind: str, key: str, value: Any) -> None:
    # Failures are only logged and counted, since the caller has its result anyway.
    if seconds := lifetime_seconds(kind):
        try:
            store().put(kind, key, orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS), time.time(), seconds)
        except store().failures as error:
            _count_failure(kind, error)


def lifetime_seconds(kind: str) -> float:
    found: float = getattr(settings, KINDS[kind])
    return found


def clear() -> int:
    """Deletes all entries and returns how many. Raises CacheError."""
    try:
        return store().clear()
    except store().failures as error:
        raise CacheError(f"The cache cannot be cleared: {error}") from error


def _count_failure(kind: str, error: Exception) -> None:
    counts[kind].add(failures=1)
    log.warning("cache.failed", kind=kind, error=str(error))


def statistics() -> dict[str, Any]:
    sizes = _sizes()
    return {
        "backend": "redis" if settings.REDIS_URL else "file",
        "available": sizes is not None,
        "entries": sum(size.entries for size in (sizes or {}).values()),
        "bytes": sum(size.bytes for size in (sizes or {}).values()),
        "kinds": [_kind_statistics(kind, (sizes or {}).get(kind, StoredSize(0, 0, None))) for kind in KINDS],
    }


def _sizes() -> dict[str, StoredSize] | None:
    try:
        return store().sizes(list(KINDS), time.time())
    except store().failures as error:
        log.warning("cache.failed", error=str(error))
        return None


def _kind_statistics(kind: str, size: StoredSize) -> dict[str, Any]:
    count = counts[kind]
    requests = count.hits + count.misses
    return {
        "name": kind,
        "seconds": lifetime_seconds(kind),
        "hits": count.hits,
        "misses": count.misses,
        "failures": count.failures,
        "hit_ratio": round(count.hits / requests, 4) if requests else None,
        "entries": size.entries,
        "bytes": size.bytes,
        "oldest_seconds": None if size.oldest is None else max(0, int(time.time() - size.oldest)),
    }


__all__: Sequence[str] = ("KINDS", "CacheError", "clear", "get", "key_of", "put", "statistics")
