"""The cache and its file backend."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from core import cache
from core.cache import stores
from core.cache.stores import FileStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite3"


@pytest.fixture
def file_store(path: Path) -> FileStore:
    return FileStore(path)


def test_an_entry_is_found_until_it_expires(file_store: FileStore) -> None:
    file_store.put("metrics", "a", b"1", now=100, seconds=10)
    assert file_store.get("metrics", "a", now=109) == b"1"
    assert file_store.get("metrics", "a", now=110) is None
    assert file_store.get("metrics", "b", now=100) is None
    assert file_store.get("other", "a", now=100) is None


def test_other_processes_find_an_entry(file_store: FileStore, path: Path) -> None:
    file_store.put("metrics", "a", b"1", now=100, seconds=10)
    assert FileStore(path).get("metrics", "a", now=101) == b"1"


def test_threads_share_the_cache(file_store: FileStore) -> None:
    def put() -> None:
        file_store.put("metrics", "a", b"1", now=100, seconds=10)

    thread = threading.Thread(target=put)
    thread.start()
    thread.join()
    assert file_store.get("metrics", "a", now=101) == b"1"


def test_only_the_owner_can_read_the_file(file_store: FileStore, path: Path) -> None:
    file_store.put("metrics", "a", b"1", now=100, seconds=10)
    assert path.stat().st_mode & 0o077 == 0


def test_a_value_that_is_too_long_is_not_cached(file_store: FileStore) -> None:
    file_store.put("metrics", "a", b"x" * (stores.MAX_VALUE_BYTES + 1), now=100, seconds=10)
    assert file_store.get("metrics", "a", now=101) is None


def test_the_oldest_entries_are_evicted(file_store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MAX_BYTES", 250)
    monkeypatch.setattr(stores, "EVICT_EVERY", 1)
    monkeypatch.setattr(file_store, "_puts", 1)
    for number in range(5):
        file_store.put("metrics", str(number), b"x" * 100, now=100 + number, seconds=1000)
        file_store._evict(100 + number)
    assert [number for number in range(5) if file_store.get("metrics", str(number), now=110)] == [3, 4]


def test_expired_entries_are_deleted(file_store: FileStore) -> None:
    file_store.put("metrics", "a", b"1", now=100, seconds=10)
    file_store._evict(200)
    assert file_store.clear() == 0


def test_sizes_count_entries_bytes_and_age(file_store: FileStore) -> None:
    file_store.put("metrics", "a", b"123", now=100, seconds=50)
    file_store.put("metrics", "b", b"45", now=120, seconds=50)
    assert file_store.sizes(["metrics"], now=130) == {"metrics": (2, 5, 100)}
    assert file_store.clear() == 2
    assert file_store.sizes(["metrics"], now=130) == {}


def test_a_damaged_file_is_replaced(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)
    broken = FileStore(path)
    with pytest.raises(broken.failures):
        broken.get("metrics", "a", now=1)
    broken.put("metrics", "a", b"1", now=1, seconds=10)
    assert broken.get("metrics", "a", now=2) == b"1"


# --- The cache ------------------------------------------------------------------------------------------


@pytest.fixture
def active_store(
    file_store: FileStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FileStore]:
    settings.CACHE_METRICS_SECONDS = 600
    monkeypatch.setattr(cache, "store", lambda: file_store)
    monkeypatch.setattr(cache, "counts", {"metrics": cache.CacheCounts()})
    yield file_store


def metrics_kind() -> dict[str, Any]:
    found: dict[str, Any] = cache.statistics()["kinds"][0]
    return found


def test_hits_and_misses_are_counted(active_store: FileStore) -> None:
    key = cache.key_of("series", 1, [3])
    assert cache.get("metrics", key) is None
    cache.put("metrics", key, {3: [1.5]})
    assert cache.get("metrics", key) == {"3": [1.5]}
    found = metrics_kind()
    assert (found["hits"], found["misses"], found["hit_ratio"], found["entries"]) == (1, 1, 0.5, 1)
    assert found["oldest_seconds"] >= 0
    assert found["bytes"] > 0


def test_another_revision_is_another_key() -> None:
    assert cache.key_of("series", 1, [3]) != cache.key_of("series", 2, [3])
    assert cache.key_of("series", None) != cache.key_of("series", "None")


def test_a_lifetime_of_zero_turns_the_cache_off(active_store: FileStore, settings: Settings) -> None:
    settings.CACHE_METRICS_SECONDS = 0
    cache.put("metrics", "key", 1)
    assert cache.get("metrics", "key") is None
    assert (metrics_kind()["misses"], metrics_kind()["hit_ratio"]) == (0, None)


def test_a_failing_store_is_counted_and_raises_only_when_cleared(
    active_store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise OSError("disk full")

    for name in ("get", "put", "clear", "sizes"):
        monkeypatch.setattr(active_store, name, refused)
    cache.put("metrics", "key", 1)
    assert cache.get("metrics", "key") is None
    assert metrics_kind()["failures"] == 2
    assert cache.statistics()["available"] is False
    with pytest.raises(cache.CacheError, match="disk full"):
        cache.clear()
