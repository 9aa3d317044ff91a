from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from metrics.queries import raw_rows
from metrics.queries.raw_rows import PER_PAGE, Wanted, key, page
from metrics.storage.tiers import HOUR, RAW, TIERS, Tier
from metrics.tests.history import NOON, store_usage, store_usage_rows
from metrics.tests.plans import assert_scans_in_key_order, explain
from programs.tests.api_rig import define

pytestmark = pytest.mark.django_db
DAY = 86_400


def wanted(tier: Tier = RAW, **more: Any) -> Wanted:
    return Wanted(tier, NOON - DAY, NOON + DAY, **more)


def every_page(asked: Wanted) -> list[Any]:
    found = page(asked)
    seen = list(found.rows)
    while found.below:
        found = page(replace(asked, below=found.below))
        seen += found.rows
    return seen


def test_the_pages_together_have_every_row_once_newest_period_first() -> None:
    programs = [define(f"p{number}") for number in range(3)]
    for program in programs:
        store_usage_rows(RAW, program, range(NOON, NOON + 1200, 10))
    found = [key(row) for row in every_page(wanted())]
    assert len(found) == len(set(found)) == 360
    assert found == sorted(found, reverse=True)


def test_one_program_comes_in_the_order_of_time() -> None:
    web = define("web")
    store_usage_rows(RAW, web, range(NOON, NOON + 2500, 10))
    store_usage_rows(RAW, define("db"), range(NOON, NOON + 100, 10))
    times = [row.timestamp for row in every_page(wanted(program=web.pk))]
    assert times == sorted(range(NOON, NOON + 2500, 10), reverse=True)


def test_a_page_that_is_just_full_has_no_next_one() -> None:
    web = define("web")
    store_usage_rows(RAW, web, range(NOON, NOON + 10 * PER_PAGE, 10))
    assert page(wanted()).below is None
    assert page(wanted(program=web.pk)).below is None


def test_the_time_narrows_to_the_second() -> None:
    web = define("web")
    store_usage_rows(RAW, web, range(NOON, NOON + 200, 10))
    for program in (None, web.pk):
        found = page(Wanted(RAW, NOON + 30, NOON + 60, program))
        assert sorted(row.timestamp for row in found.rows) == [NOON + 30, NOON + 40, NOON + 50]


@pytest.mark.parametrize("program", [None, 5])
@pytest.mark.parametrize("below", [None, (NOON, 5, NOON)])
@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
def test_every_page_is_found_by_the_key_and_nothing_is_sorted(
    tier: Tier, program: int | None, below: raw_rows.Key | None
) -> None:
    asked = wanted(tier, program=program, below=below)
    found = raw_rows._of_all(asked) if program is None else raw_rows._of_one(asked)
    assert_scans_in_key_order(explain(*found.query.sql_with_params()))


def test_a_page_far_back_begins_where_the_one_before_ended() -> None:
    """Of several upper bounds SQLite takes the first, and would read everything above the others."""
    bounds = re.findall(r'"period" <= (\d+)', str(raw_rows._of_all(wanted(below=(NOON, 5, NOON))).query))
    assert bounds == [str(NOON)]


@pytest.mark.parametrize("program", [None, 5])
def test_a_page_is_one_query_and_counts_nothing(
    django_assert_num_queries: DjangoAssertNumQueries, program: int | None
) -> None:
    store_usage(HOUR, define(), NOON)
    with django_assert_num_queries(1) as asked:
        page(wanted(HOUR, program=program))
    assert "COUNT(" not in asked[0]["sql"].upper()
