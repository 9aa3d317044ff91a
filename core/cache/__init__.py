"""Answers that took work, kept for a while: for all processes, and beyond a restart.

A key carries the revision of the data the answer was made from. So nothing is ever taken out because it became
wrong: what has changed is asked for under another key. Where answers are worth keeping was measured; see
docs/adr/0012-cache.md.
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
KINDS = {"metrics": "CACHE_METRICS_SECONDS"}  # kind → the setting that says how long; 0 keeps nothing


class CacheError(Exception):
    """Why kept answers could not be forgotten; fit to be shown."""


@dataclass
class Counts:
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


counts = {kind: Counts() for kind in KINDS}


@cache
def store() -> Store:
    if settings.REDIS_URL:
        return RedisStore(settings.REDIS_URL)
    return FileStore(settings.DATA_DIR / "cache.sqlite3")


def key_of(*parts: Any) -> str:
    """One name for anything JSON can tell apart, the revision included."""
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def fetch(kind: str, key: str) -> Any:
    """What was kept under that key, as it came out of JSON; None when there is nothing (any more)."""
    if not seconds(kind):
        return None
    found: bytes | None = None
    try:
        found = store().get(kind, key, time.time())
    except store().failures as error:
        _failed(kind, error)
    counts[kind].add(hits=found is not None, misses=found is None)
    return None if found is None else orjson.loads(found)


def keep(kind: str, key: str, value: Any) -> None:
    """A cache that cannot be written is as good as an empty one: the log tells of it, and the answer goes out."""
    if lifetime := seconds(kind):
        try:
            store().put(kind, key, orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS), time.time(), lifetime)
        except store().failures as error:
            _failed(kind, error)


def seconds(kind: str) -> float:
    found: float = getattr(settings, KINDS[kind])
    return found


def clear() -> int:
    """Forgets everything; how many answers that were. Raises CacheError."""
    try:
        return store().clear()
    except store().failures as error:
        raise CacheError(f"The cache cannot be cleared: {error}") from error


def _failed(kind: str, error: Exception) -> None:
    counts[kind].add(failures=1)
    log.warning("cache.failed", kind=kind, error=str(error))


def statistics() -> dict[str, Any]:
    """For people: what is kept, and how often it was of use."""
    sizes = _sizes()
    return {
        "backend": "redis" if settings.REDIS_URL else "file",
        "available": sizes is not None,
        "entries": sum(size.entries for size in (sizes or {}).values()),
        "bytes": sum(size.bytes for size in (sizes or {}).values()),
        "kinds": [_kind(kind, (sizes or {}).get(kind, StoredSize(0, 0, None))) for kind in KINDS],
    }


def _sizes() -> dict[str, StoredSize] | None:
    try:
        return store().sizes(list(KINDS), time.time())
    except store().failures as error:
        log.warning("cache.failed", error=str(error))
        return None


def _kind(kind: str, size: StoredSize) -> dict[str, Any]:
    seen = counts[kind]
    asked = seen.hits + seen.misses
    return {
        "name": kind,
        "seconds": seconds(kind),
        "hits": seen.hits,
        "misses": seen.misses,
        "failures": seen.failures,
        "hit_ratio": round(seen.hits / asked, 4) if asked else None,
        "entries": size.entries,
        "bytes": size.bytes,
        "oldest_seconds": None if size.oldest is None else max(0, int(time.time() - size.oldest)),
    }


__all__: Sequence[str] = ("KINDS", "CacheError", "clear", "fetch", "keep", "key_of", "statistics")
