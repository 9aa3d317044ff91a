"""Rolled-up rows equal the aggregated points, whatever interrupts the roll-up."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from metrics.models import HostUsage, OpenPeriod, ResourceUsage, ResourceUsageDay, ResourceUsageMinute
from metrics.storage import histogram, rollup, values
from metrics.storage.histogram import CPU, MEMORY
from metrics.storage.recorder import Recorder
from metrics.storage.tiers import COARSER, DAY, HOUR, MINUTE, TEN_MINUTES, Tier
from metrics.tests.fake_writer import Writer, programs, usage_sample
from metrics.tests.storage.test_recorder import host_row
from programs.hosts import this_host
from programs.models import Host

DAY_START = 20_800 * 86_400


def make(writer: Writer) -> Recorder:
    writer.waiting.clear()  # what a killed agent had queued is lost
    return Recorder(this_host().pk, writer.put_batch)


def expected(tier: Tier, before: int) -> dict[tuple[int, int], dict[str, Any]]:
    """The rows of `tier` that end before `before`, computed from the points."""
    buckets: dict[tuple[int, int], list[ResourceUsage]] = {}
    for point in ResourceUsage.objects.order_by("timestamp"):
        bucket = point.timestamp - point.timestamp % tier.seconds
        if bucket + tier.seconds <= before:
            buckets.setdefault((point.program_id, bucket), []).append(point)
    return {key: merged(points) for key, points in buckets.items()}


def merged(points: list[ResourceUsage]) -> dict[str, Any]:
    def each(name: str) -> list[Any]:
        return [value for point in points if (value := getattr(point, name)) is not None]

    return {
        **{name: sum(each(name)) for name in ("count", "covered_ms", "cpu_ms", "memory_sum")},
        "read_bytes": sum(each("read_bytes")) if each("read_bytes") else None,
        **{name: min(each(name)) for name in ("cpu_min", "memory_min")},
        **{name: max(each(name)) for name in ("cpu_max", "memory_max", "threads_max", "open_files_max")},
        **{name: getattr(points[-1], name) for name in ("cpu_last", "memory_last")},
        "cpu_histogram": bins(CPU.bin_of(10_000 * p.cpu_ms / p.covered_ms) for p in points),
        "memory_histogram": bins(MEMORY.bin_of(p.memory_sum / p.count) for p in points),
    }


def bins(values: Iterable[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def found(tier: Tier, names: Iterable[str]) -> dict[tuple[int, int], dict[str, Any]]:
    rows = {}
    for row in tier.model._default_manager.all():
        values = {name: getattr(row, name) for name in names}
        for name in ("cpu_histogram", "memory_histogram"):
            counts: dict[int, int] = {}
            histogram.add(counts, values[name])
            values[name] = counts
        assert row.period == tier.period_of(row.timestamp)
        rows[row.program_id, row.timestamp] = values
    return rows


def check(tiers: Iterable[Tier], now: int) -> None:
    for tier in tiers:
        right = expected(tier, now)
        assert right
        assert found(tier, next(iter(right.values()))) == right


def any_use(dice: random.Random, seconds: float = 10.0) -> Any:
    return usage_sample(
        dice.choice([0.0, 3.0, dice.uniform(0, 200)]), dice.randrange(1, 1 << 33), seconds,
        open_files=dice.randrange(9), read_bytes=dice.choice([None, 5]) if seconds else None,
    )  # fmt: skip


def test_all_tiers_are_exact_at_the_end_of_a_day(writer: Writer, settings: Any) -> None:
    settings.RECORD_SECONDS = 60
    dice, ids, target = random.Random(1), programs(2), make(writer)
    for minute in range(22 * 60 + 30, 25 * 60):
        start = DAY_START + 60 * minute
        target.add(start, start + 60, {program: any_use(dice, 60) for program in ids if dice.random() < 0.9})
        writer.drain()
    check([MINUTE, TEN_MINUTES, HOUR, DAY], DAY_START + 25 * 3600)
    assert {mark.tier for mark in OpenPeriod.objects.all()} == {"hour"}


@pytest.mark.parametrize("seed", range(3))
def test_an_agent_killed_at_any_time_neither_loses_nor_duplicates(writer: Writer, seed: int) -> None:
    # It dies between two random transactions; what was committed must be exact in every tier.
    dice, ids, target = random.Random(seed), programs(3), make(writer)
    now = DAY_START + 3600 * 5 - 600
    for _ in range(150):
        step = dice.choice([2, 10, 10, 10, 30, 70])
        target.add(now, now + step, {program: any_use(dice, step) for program in ids})
        now += step
        if dice.random() < 0.2:
            writer.drain(most=dice.randrange(3))
            target = make(writer)
        else:
            writer.drain()
    final = make(writer)
    final.add(now + 3600, now + 3600, {})
    writer.drain()
    check([MINUTE, TEN_MINUTES, HOUR], now + 3600)
    assert not OpenPeriod.objects.filter(tier__in=["raw", "minute", "ten_minutes"]).exists()


@pytest.mark.parametrize("seed", range(3))
def test_clock_changes_leave_the_tiers_exact(writer: Writer, seed: int) -> None:
    dice, ids, target = random.Random(seed), programs(2), make(writer)
    now = latest = DAY_START + 7200
    for _ in range(200):
        target.add(now, now + 10, {program: any_use(dice) for program in ids})
        writer.drain()
        now += 10 if dice.random() > 0.03 else dice.choice([-3, -40, -700, -4000, 45, 800])
        latest = max(latest, now + 10)
    target.add(latest + 3600, latest + 3600, {})
    writer.drain()
    check([MINUTE, TEN_MINUTES, HOUR], latest + 3600)


def test_a_failed_transaction_is_repeated(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    dice, ids, target = random.Random(1), programs(3), make(writer)
    monkeypatch.setattr(rollup, "SLICE_PROGRAMS", 1)
    write, failures = values.replace_rows, iter([True, False, True, False] * 5)

    def flaky(*arguments: Any) -> None:
        write(*arguments)
        if next(failures, False):
            raise ConnectionError("database is locked")

    monkeypatch.setattr(rollup, "replace_rows", flaky)
    for number in range(13):
        target.add(
            DAY_START + 10 * number, DAY_START + 10 * number + 10, {program: any_use(dice) for program in ids}
        )
    while writer.waiting:
        try:
            writer.drain()
        except ConnectionError:
            continue
    check([MINUTE], DAY_START + 130)


def test_a_roll_up_is_done_in_slices(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "SLICE_PROGRAMS", 2)
    ids, target = programs(5), make(writer)
    target.add(DAY_START, DAY_START + 10, dict.fromkeys(ids, usage_sample()))
    target.add(DAY_START + 60, DAY_START + 70, {})
    assert writer.drain() == 1 + 3
    assert ResourceUsageMinute.objects.count() == 5


def test_a_partly_streamed_minute_is_read_from_the_table(writer: Writer) -> None:
    dice, ids = random.Random(1), programs(2)
    for number in range(6):
        target = make(writer)
        target.add(
            DAY_START + 10 * number, DAY_START + 10 * number + 10, {program: any_use(dice) for program in ids}
        )
        writer.drain()
    check([MINUTE], DAY_START + 60)


def test_an_agent_finishes_the_periods_of_a_host_without_heartbeat(writer: Writer) -> None:
    (program,) = programs()
    long_ago = timezone.now() - timedelta(hours=1)
    lost = Host.objects.create(name="lost", heartbeat_at=long_ago, is_default=True)
    target = Recorder(lost.pk, writer.put_batch)
    target.add(DAY_START, DAY_START + 10, {program: usage_sample()})
    writer.drain()
    assert not ResourceUsageMinute.objects.exists()
    another = make(writer)
    another.add(DAY_START + 60, DAY_START + 70, {})
    writer.drain()
    assert ResourceUsageMinute.objects.get().program_id == program


def test_programs_of_another_host_are_left_to_its_agent(writer: Writer) -> None:
    (ours, theirs), target = programs(2), make(writer)
    other = Host.objects.create(name="other", heartbeat_at=timezone.now())
    target.add(DAY_START, DAY_START + 10, {ours: usage_sample(), theirs: usage_sample()})
    writer.drain()
    program = ResourceUsage.objects.filter(program=theirs).get().program
    program.host = other
    program.save()
    again = make(writer)
    again.add(DAY_START + 60, DAY_START + 70, {})
    writer.drain()
    assert ResourceUsageMinute.objects.get().program_id == ours


def test_host_rows_are_rolled_up_too(writer: Writer) -> None:
    target = make(writer)
    for number, percent in enumerate([10.0, 20.0, 60.0]):
        target.add_host(DAY_START + 600 * number, host_row(percent), vitals=None)
        target.add(DAY_START + 600 * number, DAY_START + 600 * number + 10, {})
    target.add(DAY_START + 3600, DAY_START + 3610, {})
    writer.drain()
    row = HostUsage.objects.get(step=HOUR.step)
    assert (row.timestamp, row.count, row.cpu_percent, row.cpu_percent_max) == (DAY_START, 3, 30.0, 60.0)
    assert row.cores == [30.0]


def test_the_coarsest_tier_has_no_open_periods(writer: Writer) -> None:
    (program,), target = programs(), make(writer)
    target.add(DAY_START, DAY_START + 10, {program: usage_sample()})
    target.add(DAY_START + 86_400, DAY_START + 86_410, {})
    writer.drain()
    assert ResourceUsageDay.objects.get().timestamp == DAY_START
    assert DAY not in COARSER
    assert not OpenPeriod.objects.exists()
