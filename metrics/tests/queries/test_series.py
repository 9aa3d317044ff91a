"""Series: the choice of tier and step, and exact aggregates."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from metrics.models import OpenPeriod
from metrics.queries import series
from metrics.queries.measures import HOST_MEASURES, PROGRAM_MEASURES, HostSource, ProgramSource
from metrics.queries.series import Series
from metrics.storage import histogram
from metrics.storage.tiers import DAY, HOUR, MINUTE, RAW, TEN_MINUTES, Tier
from metrics.tests.history import MIDNIGHT, NOON, store_host_usage, store_usage, store_usage_rows
from programs.hosts import this_host
from programs.models import Program
from programs.tests.api_rig import define

pytestmark = pytest.mark.django_db
NOW = NOON + 3600
HOURS = 3600


def read(program: Program, start: int, end: int, step: int | None, aggregates: str = "avg") -> Series:
    names = ["cpu_percent", "memory_bytes"]
    selection = series.select_aggregates(PROGRAM_MEASURES, names, aggregates.split(","))
    plan = series.plan_series(start, end, step=step, now=NOW)
    return series.read_series(ProgramSource([program.pk]), plan, selection, NOW).get(
        program.pk
    ) or series.empty_series(selection)


# --- Which tier and step --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "step", "tier"),
    [(0.25, 10, RAW), (1, 10, RAW), (24, 300, MINUTE), (168, 1800, TEN_MINUTES), (24 * 30, 2 * HOURS, HOUR)],
)
def test_step_and_tier_are_chosen_by_the_range(hours: float, step: int, tier: Tier) -> None:
    found = series.plan_series(NOW - int(hours * HOURS), NOW, step=None, now=NOW)
    assert (found.step, found.tier) == (step, tier)
    assert found.points <= series.AUTO_POINTS


@pytest.mark.parametrize("hours", [0.01, 0.3, 1, 5, 24, 100, 168, 24 * 90, 24 * 399, 24 * 365 * 50])
@pytest.mark.parametrize("owners", [1, 7, 100, 1000, 100_000])
def test_a_plan_never_exceeds_the_point_limit(hours: float, owners: int) -> None:
    found = series.plan_series(NOW - int(hours * HOURS), NOW, step=None, now=NOW, owners=owners)
    assert found.points <= series.AUTO_POINTS
    assert found.points * owners <= max(series.MAX_POINTS_OF_ALL, 2 * owners)
    assert found.start % found.step == 0 and found.step % found.tier.width == 0


def test_a_step_finer_than_the_stored_rows_becomes_their_width() -> None:
    found = series.plan_series(NOW - 48 * HOURS, NOW - 47 * HOURS, step=10, now=NOW)
    assert (found.step, found.tier) == (60, MINUTE)


def test_a_step_is_rounded_up_to_a_multiple_of_the_row_width() -> None:
    assert series.plan_series(NOW - HOURS, NOW, step=90, now=NOW).step == 120


def test_too_many_points_are_refused_with_a_step_that_fits() -> None:
    with pytest.raises(ValidationError, match="step of at least 303") as refused:
        series.plan_series(NOW - 168 * HOURS, NOW, step=60, now=NOW)
    assert "step" in refused.value.message_dict
    assert series.plan_series(NOW - 168 * HOURS, NOW, step=303, now=NOW).points <= series.MAX_POINTS


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(ValidationError, match="after start"):
        series.plan_series(NOW, NOW, step=None, now=NOW)


@pytest.mark.parametrize(
    ("names", "aggregates", "field"),
    [
        (["cpu"], ["avg"], "metrics"),
        (["cpu_percent"], ["median"], "aggregates"),
        (["threads"], ["avg"], "aggregates"),
        (["cpu_ms); DROP TABLE x"], ["avg"], "metrics"),
    ],
)
def test_unknown_measures_and_aggregates_are_refused(names: list[str], aggregates: list[str], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        series.select_aggregates(PROGRAM_MEASURES, names, aggregates)
    assert list(refused.value.message_dict) == [field]


# --- Numbers --------------------------------------------------------------------------------------------


def test_aggregates_are_exact_over_rows_of_unequal_weight() -> None:
    program = define()
    store_usage(RAW, program, NOON, cpu=10, memory=1000, count=5)
    store_usage(RAW, program, NOON + 10, cpu=70, memory=4000, count=1, covered_ms=2000, cpu_ms=1400)
    found = read(program, NOON, NOON + 30, 30, "avg,min,max,last")
    # 1 s of CPU in 10 s, 1.4 s in 2 s.
    assert {name: points[0][1] for name, points in found["cpu_percent"].items()} == {
        "avg": 20.0,
        "min": 10.0,
        "max": 70.0,
        "last": 70.0,
    }
    assert {name: points[0][1] for name, points in found["memory_bytes"].items()} == {
        "avg": 1500,
        "min": 1000,
        "max": 4000,
        "last": 4000,
    }


def test_a_time_without_rows_has_no_point() -> None:
    program = define()
    store_usage_rows(MINUTE, program, [NOON, NOON + 180])
    found = read(program, NOON, NOON + 240, 60)
    assert [at for at, _ in found["cpu_percent"]["avg"]] == [NOON, NOON + 180]


def test_a_first_sample_that_covers_no_time_has_memory_but_no_cpu() -> None:
    program = define()
    store_usage(RAW, program, NOON, covered_ms=0, cpu_ms=0)
    found = read(program, NOON, NOON + 10, 10)
    assert (found["cpu_percent"]["avg"], len(found["memory_bytes"]["avg"])) == ([], 1)


def test_recent_time_is_read_from_finer_rows_without_counting_twice() -> None:
    program = define()
    store_usage_rows(RAW, program, range(NOON, NOON + 120, 10), cpu=50)
    store_usage(MINUTE, program, NOON, cpu=50)  # already rolled up, while the points still exist
    OpenPeriod.objects.create(host=this_host(), tier="raw", period=NOON + 60)
    found = read(program, NOON, NOON + 120, 120, "avg,last")
    assert found["cpu_percent"] == {"avg": [[NOON, 50.0]], "last": [[NOON, 50.0]]}


def test_the_last_value_is_that_of_the_newest_row_of_any_tier() -> None:
    program = define()
    store_usage(MINUTE, program, NOON, cpu_last=100)
    store_usage(RAW, program, NOON + 60, cpu_last=200)
    store_usage(RAW, program, NOON + 70, cpu_last=300)
    OpenPeriod.objects.create(host=this_host(), tier="raw", period=NOON + 60)
    assert read(program, NOON, NOON + 120, 120, "last")["cpu_percent"]["last"] == [[NOON, 3.0]]


def test_rows_of_other_programs_and_times_are_ignored() -> None:
    web, db = define("web"), define("db")
    store_usage(MINUTE, web, NOON, cpu=10)
    store_usage(MINUTE, web, NOON + 60, cpu=99)
    store_usage(MINUTE, db, NOON, cpu=99)
    assert read(web, NOON, NOON + 60, 60)["cpu_percent"]["avg"] == [[NOON, 10.0]]


def test_the_95th_percentile_of_recorded_points() -> None:
    program = define()
    for number in range(60):
        store_usage(RAW, program, NOON + 10 * number, cpu=90 if number >= 54 else 10, memory=1_000_000)
    OpenPeriod.objects.create(host=this_host(), tier="raw", period=NOON)
    found = read(program, NOON, NOON + 600, 600, "p95")
    assert found["cpu_percent"]["p95"][0][1] == pytest.approx(90, rel=0.05)
    assert found["memory_bytes"]["p95"] == [[NOON, 1_000_000]]  # clamped to minimum and maximum


def test_percentiles_of_coarse_rows_merge_their_histograms() -> None:
    program = define()
    blob = histogram.encode({histogram.CPU.bin_of(1000): 54, histogram.CPU.bin_of(9000): 6})
    store_usage_rows(TEN_MINUTES, program, [NOON, NOON + 600], cpu_histogram=blob, cpu_min=1000, cpu_max=9500)
    found = read(program, NOON, NOON + 1200, 1200, "p50,p95")
    assert found["cpu_percent"]["p50"][0][1] == pytest.approx(10, rel=0.05)
    assert found["cpu_percent"]["p95"][0][1] == pytest.approx(90, rel=0.05)


@pytest.mark.parametrize("tier", [RAW, MINUTE, TEN_MINUTES, HOUR, DAY])
def test_every_tier_gives_the_same_numbers(tier: Tier) -> None:
    program = define()
    start = MIDNIGHT - 40 * 86_400
    store_usage_rows(tier, program, range(start, start + 3 * tier.width, tier.width), cpu=25, memory=4096)
    selection = series.select_aggregates(PROGRAM_MEASURES, ["cpu_percent", "memory_bytes"], ["avg", "p95"])
    plan = series.SeriesPlan(start, start + 3 * tier.width, tier.width, tier)
    found = series.read_series(ProgramSource([program.pk]), plan, selection, start)[program.pk]
    expected = [[start + number * tier.width, 25.0] for number in range(3)]
    assert found["cpu_percent"] == {"avg": expected, "p95": expected}


def test_the_number_of_queries_does_not_grow_with_programs(django_assert_num_queries: Any) -> None:
    programs = [define(f"p{number}") for number in range(12)]
    for program in programs:
        store_usage_rows(MINUTE, program, range(NOON, NOON + 600, 60))
    selection = series.select_aggregates(PROGRAM_MEASURES, ["cpu_percent"], ["avg", "last"])
    plan = series.plan_series(NOON, NOON + 600, step=60, now=NOW)
    for ids in (None, [programs[0].pk], [program.pk for program in programs]):
        with django_assert_num_queries(2):  # open periods, and the rows
            found = series.read_series(ProgramSource(ids), plan, selection, NOW)
        assert set(found) == set(ids or [program.pk for program in programs])


def test_many_periods_and_programs_are_read_as_one_range() -> None:
    programs = [define(f"p{number}") for number in range(8)]
    for program in programs:
        store_usage(MINUTE, program, NOON)
    ids = [programs[0].pk, *range(10_000, 10_400)]
    plan = series.plan_series(NOON - 24 * HOURS, NOON + 600, step=60, now=NOW)
    found = series.read_series(ProgramSource(ids), plan, {"cpu_percent": ["avg"]}, NOW)
    assert found == {programs[0].pk: {"cpu_percent": {"avg": [[NOON, 10.0]]}}}


# --- Hosts ----------------------------------------------------------------------------------------------


def test_a_host_has_gauges_and_rates() -> None:
    host = this_host()
    store_host_usage(host, RAW, NOON, cpu_percent=10, cpu_percent_max=15)
    store_host_usage(host, RAW, NOON + 10, cpu_percent=30, cpu_percent_max=40)
    selection = series.select_aggregates(
        HOST_MEASURES, ["cpu_percent", "network_sent_bytes_per_second"], ["avg", "max"]
    )
    plan = series.plan_series(NOON, NOON + 60, step=60, now=NOW)
    assert series.read_series(HostSource(host.pk), plan, selection, NOW)[host.pk] == {
        "cpu_percent": {"avg": [[NOON, 20.0]], "max": [[NOON, 40.0]]},
        "network_sent_bytes_per_second": {"avg": [[NOON, 400.0]]},
    }


def test_host_rows_not_rolled_up_yet_are_read_from_the_finer_tier() -> None:
    host = this_host()
    store_host_usage(host, MINUTE, NOON, cpu_percent=10)
    for number in range(12):
        store_host_usage(host, RAW, NOON + 10 * number, cpu_percent=10 if number < 6 else 40)
    plan = series.plan_series(NOON, NOON + 120, step=60, now=NOW)
    found = series.read_series(HostSource(host.pk), plan, {"cpu_percent": ["avg"]}, NOW)
    assert found[host.pk]["cpu_percent"]["avg"] == [[NOON, 10.0], [NOON + 60, 40.0]]
