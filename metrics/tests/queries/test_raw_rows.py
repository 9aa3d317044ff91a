from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from metrics.queries import raw_rows
from metrics.queries.raw_rows import PAGE_SIZE, RowQuery, key_of, read_page
from metrics.storage.tiers import HOUR, RAW, TIERS, Tier
from metrics.tests.history import NOON, store_usage, store_usage_rows
from metrics.tests.query_plans import assert_scans_in_key_order, explain
from programs.tests.api_rig import define

pytestmark = pytest.mark.django_db
DAY = 86_400


def query(tier: Tier = RAW, **more: Any) -> RowQuery:
    return RowQuery(tier, NOON - DAY, NOON + DAY, **more)


def every_page(asked: RowQuery) -> list[Any]:
    found = read_page(asked)
    seen = list(found.rows)
    while found.below:
        found = read_page(replace(asked, below=found.below))
        seen += found.rows
    return seen


def test_the_pages_contain_every_row_once_newest_period_first() -> None:
    programs = [define(f"p{number}") for number in range(3)]
    for program in programs:
        store_usage_rows(RAW, program, range(NOON, NOON + 1200, 10))
    found = [key_of(row) for row in every_page(query())]
    assert len(found) == len(set(found)) == 360
    assert found == sorted(found, reverse=True)


def test_rows_of_one_program_are_ordered_by_time() -> None:
    web = define("web")
    store_usage_rows(RAW, web, range(NOON, NOON + 2500, 10))
    store_usage_rows(RAW, define("db"), range(NOON, NOON + 100, 10))
    times = [row.timestamp for row in every_page(query(program=web.pk))]
    assert times == sorted(range(NOON, NOON + 2500, 10), reverse=True)


def test_a_full_last_page_has_no_next_page() -> None:
    web = define("web")
    store_usage_rows(RAW, web, range(NOON, NOON + 10 * PAGE_SIZE, 10))
    assert read_page(query()).below is None
    assert read_page(query(program=web.pk)).below is None


def test_the_time_range_filters_to_the_second() -> None:
    web = define("web")
    store_usage_rows(RAW, web, range(NOON, NOON + 200, 10))
    for program in (None, web.pk):
        found = read_page(RowQuery(RAW, NOON + 30, NOON + 60, program))
        assert sorted(row.timestamp for row in found.rows) == [NOON + 30, NOON + 40, NOON + 50]


@pytest.mark.parametrize("program", [None, 5])
@pytest.mark.parametrize("below", [None, (NOON, 5, NOON)])
@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
def test_every_page_is_read_in_key_order_without_sorting(
    tier: Tier, program: int | None, below: raw_rows.RowKey | None
) -> None:
    asked = query(tier, program=program, below=below)
    found = raw_rows._rows_of_all(asked) if program is None else raw_rows._rows_of_program(asked)
    assert_scans_in_key_order(explain(*found.query.sql_with_params()))


def test_a_later_page_seeks_to_its_first_row() -> None:
    # SQLite seeks by the first of several upper bounds, and would read everything above the others.
    bounds = re.findall(r'"period" <= (\d+)', str(raw_rows._rows_of_all(query(below=(NOON, 5, NOON))).query))
    assert bounds == [str(NOON)]


@pytest.mark.parametrize("program", [None, 5])
def test_a_page_is_one_query_without_count(
    django_assert_num_queries: DjangoAssertNumQueries, program: int | None
) -> None:
    store_usage(HOUR, define(), NOON)
    with django_assert_num_queries(1) as asked:
        read_page(query(HOUR, program=program))
    assert "COUNT(" not in asked[0]["sql"].upper()
