from __future__ import annotations

import pytest
from pytest_django import DjangoAssertNumQueries

from metrics.queries.sparklines import last_hour
from metrics.storage.tiers import MINUTE, RAW
from metrics.tests.history import NOON, steadily, used
from programs.tests.api_rig import define

pytestmark = pytest.mark.django_db
LAST = NOON + 30  # the newest minute begins at noon


def test_it_has_a_value_for_each_minute_and_none_where_nothing_was_recorded() -> None:
    program = define()
    steadily(MINUTE, program, [NOON - 59 * 60, NOON - 600], cpu=5, memory=2000)
    line = last_hour([program.pk], LAST)[program.pk]
    assert (line.start, len(line.cpu), len(line.memory)) == (NOON - 59 * 60, 60, 60)
    assert (line.cpu[0], line.cpu[1], line.cpu[49]) == (5.0, None, 5.0)
    assert line.memory[49] == 2000


def test_the_minute_that_is_not_over_comes_from_the_points() -> None:
    program = define()
    used(RAW, program, NOON, cpu=4)
    used(RAW, program, NOON + 10, cpu=8)
    assert last_hour([program.pk], LAST)[program.pk].cpu[-1] == 6.0


def test_a_minute_that_is_there_as_points_as_well_keeps_its_average() -> None:
    program = define()
    for second in range(0, 60, 10):
        used(RAW, program, NOON - 60 + second, cpu=second)
    used(MINUTE, program, NOON - 60, cpu=25)
    assert last_hour([program.pk], LAST)[program.pk].cpu[-2] == 25.0


def test_what_is_older_than_an_hour_is_not_shown() -> None:
    program = define()
    used(MINUTE, program, NOON - 3600)
    assert last_hour([program.pk], LAST) == {}


def test_a_hundred_programs_cost_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    programs = [define(f"p{number}") for number in range(100)]
    for program in programs:
        used(MINUTE, program, NOON - 60, cpu=program.pk % 50)
    with django_assert_num_queries(1):
        found = last_hour([program.pk for program in programs], LAST)
    assert {pk: line.cpu[-2] for pk, line in found.items()} == {
        program.pk: program.pk % 50 for program in programs
    }


def test_no_program_costs_nothing(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert last_hour([], LAST) == {}
