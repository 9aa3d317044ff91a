"""The Redis backend with a real Redis, which may stop and start again."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from core import cache
from core.cache import stores
from core.cache.stores import RedisStore

from .http_server import free_port
from .servers import redis_server

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None and "CI" not in os.environ, reason="no Redis on this machine"
)
KINDS = ["metrics"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def redis_store(server: str) -> Iterator[RedisStore]:
    store = RedisStore(server)
    yield store
    store._redis.flushall()
    store._redis.close()


def test_an_entry_is_found_only_with_its_kind_and_key(redis_store: RedisStore) -> None:
    redis_store.put("metrics", "a", b"1", now=100, seconds=60)
    assert redis_store.get("metrics", "a", now=101) == b"1"
    assert redis_store.get("metrics", "b", now=101) is None
    assert redis_store.get("other", "a", now=101) is None


def test_another_process_finds_an_entry(redis_store: RedisStore, server: str) -> None:
    redis_store.put("metrics", "a", b"1", now=100, seconds=60)
    assert RedisStore(server).get("metrics", "a", now=101) == b"1"


def test_entries_expire(redis_store: RedisStore) -> None:
    redis_store.put("metrics", "a", b"1", now=100, seconds=60)
    assert 0 < redis_store._redis.ttl("program-monitor:answer:metrics:a") <= 60
    redis_store.put("metrics", "a", b"1", now=100, seconds=0.0001)
    deadline = time.monotonic() + 60
    while redis_store.get("metrics", "a", now=100) is not None:
        assert time.monotonic() < deadline
    assert redis_store.sizes(KINDS, now=100) == {"metrics": (0, 0, None)}


def test_a_value_that_is_too_long_is_not_cached(redis_store: RedisStore) -> None:
    redis_store.put("metrics", "a", b"x" * (stores.MAX_VALUE_BYTES + 1), now=100, seconds=60)
    assert redis_store.get("metrics", "a", now=101) is None
    redis_store.put("metrics", "a", b"x" * stores.MAX_VALUE_BYTES, now=100, seconds=60)
    assert redis_store.get("metrics", "a", now=101) is not None


def test_sizes_count_entries_and_bytes(redis_store: RedisStore) -> None:
    redis_store.put("metrics", "a", b"123", now=100, seconds=60)
    redis_store.put("metrics", "b", b"45", now=100, seconds=60)
    redis_store.put("other", "b", b"6789", now=100, seconds=60)
    assert redis_store.sizes(KINDS, now=101) == {"metrics": (2, 5, None)}


def test_clearing_deletes_only_our_keys(redis_store: RedisStore) -> None:
    redis_store._redis.set("somebody-elses", b"1")
    for number in range(2500):
        redis_store.put("metrics", str(number), b"1", now=100, seconds=60)
    assert redis_store.clear() == 2500
    assert redis_store.clear() == 0
    assert redis_store._redis.get("somebody-elses") == b"1"


# --- Outages --------------------------------------------------------------------------------------------


@pytest.fixture
def port(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> int:
    """The port of a Redis that does not run yet."""
    port = free_port()
    settings.CACHE_METRICS_SECONDS = 600
    settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
    store = RedisStore(settings.REDIS_URL)
    monkeypatch.setattr(cache, "store", lambda: store)
    monkeypatch.setattr(cache, "counts", {"metrics": cache.CacheCounts()})
    return port


def kind() -> dict[str, Any]:
    found: dict[str, Any] = cache.statistics()["kinds"][0]
    return found


def test_without_redis_every_lookup_is_a_miss(port: int) -> None:
    cache.put("metrics", "a", [1])
    assert cache.get("metrics", "a") is None
    assert cache.statistics()["available"] is False
    assert (kind()["hits"], kind()["misses"], kind()["failures"]) == (0, 1, 2)
    with pytest.raises(cache.CacheError, match="cannot be cleared"):
        cache.clear()


def test_redis_is_used_again_after_each_outage(port: int) -> None:
    assert cache.get("metrics", "a") is None
    for round_ in (1, 2):
        with redis_server(port):
            assert cache.get("metrics", "a") is None, "it came back empty"
            cache.put("metrics", "a", [round_])
            assert cache.get("metrics", "a") == [round_]
            assert (cache.statistics()["available"], cache.statistics()["entries"]) == (True, 1)
        assert cache.get("metrics", "a") is None
    assert (kind()["hits"], kind()["misses"]) == (2, 5)


def test_a_full_redis_caches_nothing(port: int) -> None:
    with redis_server(port):
        store = cache.store()
        assert isinstance(store, RedisStore)
        store._redis.config_set("maxmemory", "1")
        cache.put("metrics", "a", [1])
        assert cache.get("metrics", "a") is None
        assert kind()["failures"] == 1
