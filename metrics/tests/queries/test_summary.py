"""The summary per program over a time window."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction

from core.timeformat import from_unix
from metrics.models import OpenPeriod
from metrics.queries import summary
from metrics.queries.summary import ProgramSummary
from metrics.storage.tiers import DAY, HOUR, MINUTE, RAW
from metrics.tests.history import MIDNIGHT, NOON, store_usage, store_usage_rows
from programs import events
from programs.hosts import this_host
from programs.models import Program
from programs.tests.api_rig import define

pytestmark = pytest.mark.django_db
DAY_SECONDS = 86_400


def old(name: str) -> Program:
    """A program defined long before the window."""
    program = define(name)
    Program.objects.filter(pk=program.pk).update(created_at=from_unix(0))
    return program


def ask(start: int = NOON - DAY_SECONDS, end: int = NOON, **options: Any) -> list[ProgramSummary]:
    return summary.summarize_programs(summary.summary_window(start, end), NOON, **options)


def restart(program: Program, at: int) -> None:
    with transaction.atomic():
        events.record("program.restarted", program=program, at=from_unix(at))


def test_the_summary_has_usage_uptime_and_restarts() -> None:
    program = old("web")
    store_usage_rows(HOUR, program, range(NOON - DAY_SECONDS, NOON - DAY_SECONDS // 2, 3600), cpu=20, memory=4096)
    restart(program, NOON - 60)
    restart(program, NOON - DAY_SECONDS - 1)
    assert ask() == [
        {
            "id": program.pk,
            "name": "web",
            "cpu_percent": {"avg": 20.0, "max": 20.0, "p95": 20.0},
            "memory_bytes": {"avg": 4096, "max": 4096, "p95": 4096},
            "uptime_ratio": 0.5,
            "restarts": 1,
        }
    ]


def test_a_program_without_history_is_listed_without_values() -> None:
    old("web")
    (item,) = ask()
    assert item["cpu_percent"] == item["memory_bytes"] == {"avg": None, "max": None, "p95": None}
    assert (item["uptime_ratio"], item["restarts"]) == (0.0, 0)


def test_uptime_is_relative_to_the_time_since_definition() -> None:
    program = define("web")
    Program.objects.filter(pk=program.pk).update(created_at=from_unix(NOON - 7200))
    store_usage_rows(HOUR, program, [NOON - 7200, NOON - 3600])
    assert ask()[0]["uptime_ratio"] == 1.0


def test_the_edges_of_the_window_are_read_from_finer_rows() -> None:
    program = old("web")
    store_usage_rows(HOUR, program, range(NOON - DAY_SECONDS, NOON, 3600), cpu=10)
    store_usage(RAW, program, NOON, cpu=90)
    OpenPeriod.objects.create(host=this_host(), tier="raw", period=NOON)
    found = summary.summarize_programs(summary.summary_window(NOON - DAY_SECONDS, NOON + 20), NOON + 20)[0]
    assert found["cpu_percent"]["max"] == 90.0
    assert found["cpu_percent"]["avg"] == pytest.approx(10.01, abs=0.01)


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("-cpu_percent.avg", ["a", "b", "none"]),
        ("cpu_percent.p95", ["b", "a", "none"]),
        ("-memory_bytes.max", ["b", "a", "none"]),
        ("-memory_bytes.p95", ["b", "a", "none"]),
        ("-restarts", ["b", "a", "none"]),
        ("-uptime_ratio", ["b", "a", "none"]),
        ("name", ["a", "b", "none"]),
    ],
)
def test_programs_are_sorted_and_missing_values_come_last(order: str, names: list[str]) -> None:
    a, b = old("a"), old("b")
    old("none")
    store_usage(HOUR, a, NOON - 3600, cpu=30, memory=1 << 20)
    store_usage_rows(HOUR, b, [NOON - 3600, NOON - 7200], cpu=5, memory=1 << 30)
    restart(b, NOON - 5)
    assert [item["name"] for item in ask(order=order)] == names
    assert [item["name"] for item in ask(order=order, limit=1)] == names[:1]


def test_programs_can_be_selected_by_id() -> None:
    a, b = old("a"), old("b")
    store_usage(HOUR, a, NOON - 3600)
    store_usage(HOUR, b, NOON - 3600)
    assert [item["name"] for item in ask(ids=[b.pk])] == ["b"]
    assert ask(ids=[999]) == []


def test_removed_programs_are_left_out() -> None:
    program = old("web")
    store_usage(HOUR, program, NOON - 3600)
    Program.objects.filter(pk=program.pk).update(removed_at=from_unix(NOON))
    assert ask() == []


@pytest.mark.parametrize(
    ("seconds", "tier"), [(600, RAW), (3600, MINUTE), (DAY_SECONDS, HOUR), (30 * DAY_SECONDS, DAY)]
)
def test_the_start_moves_by_at_most_five_percent_of_the_window(seconds: int, tier: Any) -> None:
    start = MIDNIGHT + 12_345
    found = summary.summary_window(start, start + seconds)
    assert found.coarsest is tier
    assert 0 <= start - found.start <= seconds / 20


def test_the_earlier_window_ends_where_the_window_starts() -> None:
    now = summary.summary_window(NOON - DAY_SECONDS, NOON)
    before = now.earlier()
    assert before.end == now.start
    assert timedelta(seconds=before.end - before.start) >= timedelta(days=1)


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(ValidationError):
        summary.summary_window(NOON, NOON - 1)


def test_a_hundred_programs_need_as_many_queries_as_one(django_assert_num_queries: Any) -> None:
    define("first")
    with django_assert_num_queries(5):  # marks, totals, restarts, programs, percentiles
        ask()
    for number in range(12):
        store_usage(HOUR, old(f"p{number}"), NOON - 3600)
    with django_assert_num_queries(5):
        ask()
