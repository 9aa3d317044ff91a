"""The cache of series: only settled history is cached, and changes invalidate it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from pytest_django import DjangoAssertNumQueries, Settings

from core import cache
from core.cache.stores import FileStore
from core.models import Sequence
from metrics.queries import series
from metrics.queries.measures import PROGRAM_MEASURES, ProgramSource
from metrics.storage.history_revision import (
    CLOCK_PREFIX,
    SETTLED_SECONDS,
    WriterClock,
    invalidate_history,
    settled_revision,
)
from metrics.storage.tiers import MINUTE
from metrics.tests.history import NOON, store_usage
from programs.tests.api_rig import define

pytestmark = pytest.mark.django_db
NOW = NOON + 3600
CHOSEN = series.select_aggregates(PROGRAM_MEASURES, ["cpu_percent"], ["avg"])


@pytest.fixture(autouse=True)
def store(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    settings.CACHE_METRICS_SECONDS = 600
    found = FileStore(tmp_path / "cache.sqlite3")
    monkeypatch.setattr(cache, "store", lambda: found)
    return found


def written(host: int, now: float, oldest: float | None = None, clock: WriterClock | None = None) -> WriterClock:
    clock = clock or WriterClock(host)
    with transaction.atomic():
        newest = clock.record_write(int(now if oldest is None else oldest), now)
    clock.committed(newest)
    return clock


def plan(end: int, now: int = NOW) -> series.SeriesPlan:
    return series.plan_series(end - 600, end, step=60, now=now)


def points(program: Any, end: int = NOON + 600, now: int = NOW) -> list[list[float]]:
    found = series.cached_series(ProgramSource([program.pk]), plan(end, now), CHOSEN, now)
    return found[program.pk]["cpu_percent"]["avg"] if found else []


def test_settled_history_is_answered_from_the_cache(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    program = define("web")
    store_usage(MINUTE, program, NOON, cpu=10)
    written(1, NOW)
    assert points(program) == [[NOON, 10.0]]
    with django_assert_num_queries(1):
        assert points(program) == [[NOON, 10.0]]


def test_a_change_of_settled_history_is_visible_at_once() -> None:
    program = define("web")
    written(1, NOW)
    assert points(program) == []
    store_usage(MINUTE, program, NOON, cpu=10)
    invalidate_history()
    assert points(program) == [[NOON, 10.0]]


def test_recent_history_is_not_cached(store: FileStore) -> None:
    program = define("web")
    written(1, NOW)
    points(program, end=NOW - SETTLED_SECONDS + 60)
    assert store.clear() == 0


def test_without_a_writing_agent_nothing_is_settled() -> None:
    assert settled_revision(NOON) is None


def test_history_is_settled_by_the_slowest_host() -> None:
    written(1, NOW)
    written(2, NOON)
    assert settled_revision(NOON) is None
    assert settled_revision(NOON - SETTLED_SECONDS) is not None


def test_a_delayed_write_changes_the_revision() -> None:
    clock = written(1, NOW)
    before = settled_revision(NOON)
    written(1, NOW + 2, oldest=NOW, clock=clock)
    assert settled_revision(NOON) == before
    written(1, NOW + 300, clock=clock)
    assert settled_revision(NOON) == before
    written(1, NOW + 302, oldest=NOW + 2, clock=clock)
    assert settled_revision(NOON) != before


def test_the_first_write_of_an_agent_changes_the_revision() -> None:
    written(1, NOW)
    before = settled_revision(NOON)
    written(1, NOW)
    assert settled_revision(NOON) != before


def test_a_clock_set_back_changes_the_revision() -> None:
    clock = written(1, NOW)
    before = settled_revision(NOON)
    written(1, NOON - 600, clock=clock)
    assert settled_revision(NOON) != before
    assert Sequence.objects.get(name=f"{CLOCK_PREFIX}1").value == NOW


def test_different_queries_have_different_cache_entries(store: FileStore) -> None:
    written(1, NOW)
    program, other = define("web"), define("db")
    for one in (program, other):
        points(one)
        points(one, end=NOON + 1200)
    assert store.clear() == 4


def test_cache_entries_expire_as_configured(store: FileStore, settings: Settings) -> None:
    settings.CACHE_METRICS_SECONDS = 0.001
    program = define("web")
    written(1, NOW)
    points(program)
    store_usage(MINUTE, program, NOON, cpu=10)
    deadline = time.monotonic() + 10
    while not points(program) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert points(program) == [[NOON, 10.0]]
