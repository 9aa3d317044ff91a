from __future__ import annotations

from typing import Any

import pytest

from metrics.models import ResourceUsage
from metrics.queries import series
from metrics.queries.live_series import LiveSeries
from metrics.queries.measures import PROGRAM_MEASURES, ProgramSource
from metrics.storage.tiers import RAW
from metrics.tests.history import NOON, store_usage, store_usage_rows
from programs.models import Program
from programs.tests.api_rig import define

pytestmark = pytest.mark.django_db
CPU = {"cpu_percent": ["avg"]}


def chart(
    program: Program, now: int, *, hours: float = 1, since: int | None = None, step: int | None = None
) -> LiveSeries:
    plan = series.plan_series(now - round(hours * 3600), now, step=step, now=now)
    return LiveSeries(ProgramSource([program.pk]), program.pk, plan, CPU, since)


def cpu(found: Any) -> list[tuple[int, float | None]]:
    assert found is not None
    points: list[tuple[int, float | None]] = found["cpu_percent"]["avg"]
    return points


def test_the_first_read_returns_all_points() -> None:
    program = define()
    store_usage_rows(RAW, program, [NOON - 20, NOON - 10], cpu=5)
    assert cpu(chart(program, NOON).read(NOON)) == [(NOON - 20, 5.0), (NOON - 10, 5.0)]


def test_a_point_is_sent_again_only_when_it_changed() -> None:
    program = define()
    store_usage(RAW, program, NOON, cpu=5)
    points = chart(program, NOON + 2)
    points.read(NOON + 2)
    assert points.read(NOON + 4) is None
    ResourceUsage.objects.update(cpu_ms=1000)
    assert cpu(points.read(NOON + 6)) == [(NOON, 10.0)]


def test_the_final_value_of_a_point_is_sent_with_the_next_one() -> None:
    program = define()
    store_usage(RAW, program, NOON, cpu=5)
    points = chart(program, NOON + 2)
    points.read(NOON + 2)
    ResourceUsage.objects.update(cpu_ms=1000)
    store_usage(RAW, program, NOON + 10, cpu=7)
    assert cpu(points.read(NOON + 12)) == [(NOON, 10.0), (NOON + 10, 7.0)]


def test_a_gap_is_sent_as_null_once_it_is_over() -> None:
    program = define()
    store_usage(RAW, program, NOON, cpu=5)
    points = chart(program, NOON + 2)
    points.read(NOON + 2)
    assert points.read(NOON + 35) is None
    store_usage(RAW, program, NOON + 30, cpu=7)
    assert cpu(points.read(NOON + 35)) == [(NOON + 10, None), (NOON + 20, None), (NOON + 30, 7.0)]


def test_a_reconnect_gets_everything_from_its_newest_point() -> None:
    program = define()
    store_usage_rows(RAW, program, [NOON, NOON + 10, NOON + 40], cpu=5)
    points = chart(program, NOON + 50, since=NOON + 13)
    assert points.start == NOON + 10
    assert [time for time, _ in cpu(points.read(NOON + 50))] == [NOON + 10, NOON + 20, NOON + 30, NOON + 40]


def test_a_gap_after_the_newest_known_point_is_sent_too() -> None:
    program = define()
    store_usage(RAW, program, NOON + 20, cpu=5)
    assert cpu(chart(program, NOON + 30, since=NOON).read(NOON + 30)) == [
        (NOON, None), (NOON + 10, None), (NOON + 20, 5.0),
    ]  # fmt: skip


@pytest.mark.parametrize("since", [0, NOON - 9000])
def test_since_does_not_extend_the_chart(since: int) -> None:
    program = define()
    store_usage_rows(RAW, program, [NOON - 7200, NOON], cpu=5)
    points = chart(program, NOON + 10, since=since)
    assert points.start == NOON + 10 - 3600
    assert cpu(points.read(NOON + 10))[-1] == (NOON, 5.0)


def test_a_since_in_the_future_means_now() -> None:
    program = define()
    store_usage(RAW, program, NOON, cpu=5)
    assert cpu(chart(program, NOON + 5, since=NOON + 10**6).read(NOON + 5)) == [(NOON, 5.0)]


def test_a_gap_is_not_longer_than_the_chart() -> None:
    program = define()
    store_usage(RAW, program, NOON, cpu=5)
    points = chart(program, NOON + 10)
    points.read(NOON + 10)
    later = NOON + 7 * 86_400
    store_usage(RAW, program, later, cpu=7)
    found = cpu(points.read(later + 10))
    assert len(found) == 360
    assert found[-1] == (later, 7.0)


def test_it_continues_after_the_clock_was_set_back() -> None:
    program = define()
    store_usage(RAW, program, NOON, cpu=5)
    points = chart(program, NOON + 5)
    points.read(NOON + 5)
    store_usage(RAW, program, NOON - 600, cpu=7)
    assert cpu(points.read(NOON - 595)) == [(NOON - 600, 7.0)]


def test_every_measure_can_be_streamed() -> None:
    program = define()
    store_usage(RAW, program, NOON, cpu=5, open_files_max=3, read_bytes=100, write_bytes=200)
    plan = series.plan_series(NOON - 3600, NOON + 10, step=10, now=NOON + 10)
    selection = series.select_aggregates(PROGRAM_MEASURES, list(PROGRAM_MEASURES), ["avg", "max", "p95"])
    found = LiveSeries(ProgramSource([program.pk]), program.pk, plan, selection).read(NOON + 10)
    assert found == {
        "cpu_percent": {"avg": [(NOON, 5.0)], "max": [(NOON, 5.0)], "p95": [(NOON, 5.0)]},
        "memory_bytes": {"avg": [(NOON, 1e6)], "max": [(NOON, 1e6)], "p95": [(NOON, 1e6)]},
        "threads": {"max": [(NOON, 1.0)]},
        "open_files": {"max": [(NOON, 3.0)]},
        "read_bytes_per_second": {"avg": [(NOON, 10.0)]},
        "write_bytes_per_second": {"avg": [(NOON, 20.0)]},
    }
