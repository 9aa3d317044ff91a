"""Recording samples as points, also through outages, restarts and clock changes."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from metrics.models import HostUsage, OpenPeriod, RecordedProgram, ResourceUsage, ResourceUsageMinute
from metrics.storage import recorder, rollup, values
from metrics.storage.recorder import Recorder
from metrics.tests.fake_writer import Writer, points, programs, usage_sample
from programs.hosts import this_host

GRID = 1_800_000_000


def make(writer: Writer) -> Recorder:
    return Recorder(this_host().pk, writer.put_batch)


def sample(
    recorder_: Recorder, program: int, start: float, cpu: float = 50.0, seconds: float = 2.0, **more: Any
) -> None:
    recorder_.add(start, start + seconds, {program: usage_sample(cpu, seconds=seconds, **more)})


def test_samples_of_an_interval_become_one_point(writer: Writer) -> None:
    (program,), target = programs(), make(writer)
    for number, cpu in enumerate([10.0, 90.0, 20.0, 40.0, 30.0]):
        sample(target, program, GRID + 2 * number, cpu, memory=1000 * (number + 1))
        writer.drain()
    ((timestamp, row),) = points(program).items()
    assert (timestamp, row.period, row.count, row.covered_ms, row.cpu_ms) == (GRID, GRID, 5, 10_000, 3800)
    assert (row.cpu_min, row.cpu_max, row.cpu_last) == (1000, 9000, 3000)
    assert (row.memory_sum, row.memory_min, row.memory_max, row.memory_last) == (15_000, 1000, 5000, 5000)


def test_queued_samples_give_the_same_points_as_single_writes(writer: Writer) -> None:
    (one, two), target = programs(2), make(writer)
    for number in range(20):
        target.add(GRID + 2 * number, GRID + 2 * number + 2, {one: usage_sample(number, read_bytes=number)})
    writer.drain()
    for number in range(20):
        target.add(GRID + 2 * number, GRID + 2 * number + 2, {two: usage_sample(number, read_bytes=number)})
        writer.drain()
    columns = [field.name for field in ResourceUsage._meta.fields if field.name not in {"pk", "program"}]
    assert list(ResourceUsage.objects.filter(program=one).values(*columns)) == list(
        ResourceUsage.objects.filter(program=two).values(*columns)
    )


def test_samples_of_an_idle_program_are_written_when_the_interval_is_over(writer: Writer) -> None:
    (quiet, busy), target = programs(2), make(writer)
    for number in range(4):
        target.add(GRID + 2 * number, GRID + 2 * number + 2, {quiet: usage_sample(0.0), busy: usage_sample(20.0)})
        writer.drain()
    assert (points(quiet), points(busy)[GRID].count) == ({}, 4)
    target.add(GRID + 8, GRID + 10, {quiet: usage_sample(0.0), busy: usage_sample(20.0)})
    writer.drain()
    row = points(quiet)[GRID]
    assert (row.count, row.covered_ms, row.cpu_ms, row.memory_sum) == (5, 10_000, 0, 5000)


def test_an_idle_interval_costs_no_transaction_before_it_is_over(writer: Writer) -> None:
    (program,), target = programs(), make(writer)
    sample(target, program, GRID, 0.0)
    writer.drain()
    for number in range(1, 4):
        sample(target, program, GRID + 2 * number, 0.0)
    assert writer.drain() == 0


def test_held_back_samples_are_written_with_the_first_cpu_usage(writer: Writer) -> None:
    (program,), target = programs(), make(writer)
    for number, cpu in enumerate([0.0, 0.0, 30.0, 0.0]):
        sample(target, program, GRID + 2 * number, cpu, memory=1000 * (number + 1))
    writer.drain()
    assert (points(program)[GRID].count, points(program)[GRID].memory_max) == (3, 3000)
    sample(target, program, GRID + 13, 0.0)
    writer.drain()
    assert (points(program)[GRID].count, points(program)[GRID].memory_max) == (4, 4000)


def test_an_idle_sample_across_a_boundary_is_split_there(writer: Writer) -> None:
    (program,), target = programs(), make(writer)
    for start in (5, 9, 13, 17):
        sample(target, program, GRID + start, 0.0, seconds=4.0)
    writer.drain()
    assert {at: row.covered_ms for at, row in points(program).items()} == {GRID: 5000, GRID + 10: 10_000}
    target.flush()
    assert points(program)[GRID + 20].covered_ms == 1000


def test_a_clock_set_back_loses_no_held_back_sample(writer: Writer) -> None:
    (program,), target = programs(), make(writer)
    for start in (GRID + 12, GRID, GRID + 12, GRID + 20):
        sample(target, program, start, 0.0)
    target.flush()
    assert {at: row.count for at, row in points(program).items()} == {GRID: 1, GRID + 10: 2, GRID + 20: 1}


def test_flush_writes_held_back_samples(writer: Writer) -> None:
    (program,), target = programs(), make(writer)
    sample(target, program, GRID, 0.0)
    writer.drain()
    assert points(program) == {}
    target.flush()
    assert points(program)[GRID].count == 1


def test_recorded_until_is_the_time_up_to_which_all_is_committed(writer: Writer) -> None:
    (quiet, busy), target = programs(2), make(writer)
    assert target.recorded_until == 0
    for number in range(5):
        target.add(GRID + 2 * number, GRID + 2 * number + 2, {quiet: usage_sample(0.0), busy: usage_sample(20.0)})
        assert target.recorded_until == GRID
    writer.drain()
    assert target.recorded_until == GRID + 10
    target.add(GRID + 10, GRID + 12, {quiet: usage_sample(0.0)})
    writer.drain()
    assert target.recorded_until == GRID + 10  # the held-back sample belongs to an interval that is not over


def test_recorded_until_does_not_advance_during_an_outage(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,), target = programs(), make(writer)
    sample(target, program, GRID, seconds=10)
    writer.drain()

    def refuse(*args: Any) -> None:
        raise OperationalError("locked")

    with monkeypatch.context() as broken:
        broken.setattr(recorder, "add_to_points", refuse)
        for number in range(1, 4):
            sample(target, program, GRID + 10 * number, seconds=10)
            with pytest.raises(OperationalError):
                writer.drain()
            assert target.recorded_until == GRID + 10
    writer.drain()
    assert target.recorded_until == GRID + 40


def test_a_minute_of_idle_programs_is_exact(writer: Writer) -> None:
    (program,), target = programs(), make(writer)
    for number in range(60):
        sample(target, program, GRID + 2 * number, 40.0 * (number % 7 == 0))
        writer.drain()
    minutes = ResourceUsageMinute.objects.order_by("timestamp").values_list("count", "covered_ms", "cpu_ms")
    assert list(minutes) == [(30, 60_000, 5 * 800), (30, 60_000, 4 * 800)]


def test_a_new_agent_continues_the_point_of_the_old_one(writer: Writer) -> None:
    (program,) = programs()
    sample(make(writer), program, GRID, 10.0)
    writer.drain()
    sample(make(writer), program, GRID + 6, 30.0)
    writer.drain()
    assert points(program)[GRID].count == 2
    assert points(program)[GRID].cpu_ms == 800


def test_a_clock_set_back_adds_to_existing_points(writer: Writer) -> None:
    (program,), target = programs(), make(writer)
    for start in (GRID, GRID + 10, GRID, GRID + 10, GRID + 20):
        sample(target, program, start)
    writer.drain()
    assert {timestamp: row.count for timestamp, row in points(program).items()} == {
        GRID: 2,
        GRID + 10: 2,
        GRID + 20: 1,
    }


def test_a_clock_set_forward_leaves_a_gap(writer: Writer) -> None:
    (program,), target = programs(), make(writer)
    sample(target, program, GRID)
    sample(target, program, GRID + 7200)
    writer.drain()
    assert sorted(points(program)) == [GRID, GRID + 7200]


def test_a_program_that_is_not_running_has_no_points(writer: Writer) -> None:
    (one, other), target = programs(2), make(writer)
    sample(target, one, GRID)
    target.add(GRID + 10, GRID + 12, {})
    sample(target, one, GRID + 20)
    writer.drain()
    assert sorted(points(one)) == [GRID, GRID + 20]
    assert points(other) == {}


def test_values_that_the_system_does_not_report_stay_null(writer: Writer) -> None:
    (program,), target = programs(), make(writer)
    sample(target, program, GRID)
    sample(target, program, GRID + 2, open_files=7, write_bytes=100)
    sample(target, program, GRID + 4, open_files=5, write_bytes=11)
    writer.drain()
    row = points(program)[GRID]
    assert (row.open_files_max, row.read_bytes, row.write_bytes) == (7, None, 111)


def test_an_outage_neither_loses_nor_duplicates_samples(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,), target = programs(), make(writer)
    write, fails = values.add_to_points, iter([True, True, False, True])

    def flaky(*arguments: Any) -> None:
        write(*arguments)
        if next(fails, False):
            raise OperationalError("database is locked")

    monkeypatch.setattr(recorder, "add_to_points", flaky)
    for number in range(30):
        sample(target, program, GRID + 2 * number)
        try:
            writer.drain()
        except OperationalError:
            assert target.waiting_points > 0
    writer.drain()
    assert sum(row.count for row in points(program).values()) == 30
    assert sum(row.cpu_ms for row in points(program).values()) == 30_000


def test_a_long_outage_drops_the_oldest_points_first(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_WAITING_POINTS", 6)
    (one, two), target = programs(2), make(writer)
    for number in range(10):
        target.add(GRID + 10 * number, GRID + 10 * number + 2, {one: usage_sample(), two: usage_sample()})
    assert (target.waiting_points, target.dropped_points) == (6, 14)
    writer.drain()
    assert sorted(points(one)) == [GRID + 70, GRID + 80, GRID + 90]


def test_a_long_queue_is_written_in_slices(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "SLICE_POINTS", 4)
    ids, target = programs(3), make(writer)
    for number in range(5):
        target.add(GRID + 10 * number, GRID + 10 * number + 2, dict.fromkeys(ids, usage_sample()))
    assert writer.drain() == 3
    assert ResourceUsage.objects.count() == 15


def test_a_minute_is_rolled_up_only_when_it_is_over(writer: Writer) -> None:
    (program,), target = programs(), make(writer)
    for number in range(29):
        sample(target, program, GRID + 2 * number, cpu=number)
    writer.drain()
    assert not ResourceUsageMinute.objects.exists()
    sample(target, program, GRID + 58, cpu=29)
    writer.drain()
    row = ResourceUsageMinute.objects.get()
    assert (row.timestamp, row.count, row.covered_ms, row.cpu_ms) == (GRID, 30, 60_000, sum(range(30)) * 20)
    assert not OpenPeriod.objects.filter(tier="raw").exists()


def test_rolling_up_a_minute_reads_no_points(
    writer: Writer, django_assert_max_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, target = programs(3), make(writer)
    target.add(GRID - 60, GRID - 58, {})
    writer.drain()

    def refuse(*arguments: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(rollup, "_accumulate_rows", refuse)
    for number in range(30):
        target.add(GRID + 2 * number, GRID + 2 * number + 2, dict.fromkeys(ids, usage_sample()))
        writer.drain()
    assert ResourceUsageMinute.objects.count() == 3


def test_programs_with_history_are_recorded(writer: Writer) -> None:
    ids, target = programs(2), make(writer)
    for number in range(3):
        target.add(GRID + number, GRID + number + 1, dict.fromkeys(ids, usage_sample()))
        writer.drain()
    assert set(RecordedProgram.objects.values_list("pk", flat=True)) == set(ids)


def test_a_deleted_program_does_not_disturb_the_others(writer: Writer) -> None:
    (gone, stays), target = programs(2), make(writer)
    for number in range(40):
        target.add(GRID + 2 * number, GRID + 2 * number + 2, {gone: usage_sample(), stays: usage_sample()})
        if number == 20:
            writer.drain()
            ResourceUsage.objects.filter(program=gone).first().program.delete()  # type: ignore[union-attr]
    writer.drain()
    assert ResourceUsageMinute.objects.get(program=stays).count == 30


def test_host_rows_are_merged_after_an_agent_restart(writer: Writer) -> None:
    for percent in (20.0, 60.0):
        target = make(writer)
        target.add_host(GRID, host_row(percent), vitals=None)
        target.add(GRID + 8, GRID + 10, {})
        writer.drain()
    row = HostUsage.objects.get()
    assert (row.timestamp, row.count, row.cpu_percent, row.cpu_percent_max) == (GRID, 2, 40.0, 60.0)
    assert row.network_sent_bytes == 2


def host_row(percent: float) -> HostUsage:
    whole = dict.fromkeys(
        ["memory_total", "memory_used", "memory_used_max", "swap_total", "swap_used", "disk_total", "disk_used",
         "disk_read_bytes", "disk_write_bytes", "network_received_bytes", "network_sent_bytes"], 1
    )  # fmt: skip
    return HostUsage(step=0, cpu_percent=percent, cpu_percent_max=percent, cores=[percent], load_1=0.5, **whole)
