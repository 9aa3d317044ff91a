"""Samples are split over the intervals of points without loss or overlap."""

from __future__ import annotations

import random

import pytest

from metrics.sampling import TreeUsage
from metrics.storage.bucketing import BucketShare, split_over_buckets, split_usage, sum_by_program

GRID = 1_800_000_000  # a boundary of every interval width


def test_a_sample_within_an_interval_is_not_split() -> None:
    assert split_over_buckets(GRID + 2.0, GRID + 4.0, 10) == [BucketShare(GRID, 0.0, 1.0)]


def test_a_sample_across_a_boundary_is_split_there() -> None:
    assert split_over_buckets(GRID + 9.0, GRID + 11.0, 10) == [
        BucketShare(GRID, 0.0, 0.5),
        BucketShare(GRID + 10, 0.5, 1.0),
    ]


@pytest.mark.parametrize("lag", [-0.3, -0.002, 0.0, 0.004, 0.3])
def test_samples_that_end_near_a_boundary_are_snapped_to_it(lag: float) -> None:
    assert split_over_buckets(GRID + 8.0 + lag, GRID + 10.0 + lag, 10) == [BucketShare(GRID, 0.0, 1.0)]
    assert split_over_buckets(GRID + 10.0 + lag, GRID + 12.0 + lag, 10) == [BucketShare(GRID + 10, 0.0, 1.0)]


def test_a_late_sample_is_split_over_all_intervals() -> None:
    assert [piece.timestamp for piece in split_over_buckets(GRID + 4.0, GRID + 34.0, 10)] == [
        GRID,
        GRID + 10,
        GRID + 20,
        GRID + 30,
    ]


def test_a_sample_longer_than_a_minute_leaves_a_gap() -> None:
    pieces = split_over_buckets(GRID, GRID + 3600.0, 10)
    assert pieces[0].timestamp == GRID + 3540
    assert pieces[0].begin == pytest.approx(3540 / 3600)


def test_a_sample_without_duration_is_not_split() -> None:
    assert split_over_buckets(GRID + 5.0, GRID + 5.0, 10) == [BucketShare(GRID, 0.0, 1.0)]


def test_the_parts_add_up_to_exactly_the_whole() -> None:
    dice = random.Random(4)
    for _ in range(300):
        usage = TreeUsage(1.0, 7, 1, dice.randrange(9999), dice.randrange(1, 60_000), 3, dice.randrange(99), 5)
        start = GRID + dice.uniform(0, 20)
        found = [
            values
            for _, values in split_usage(usage, split_over_buckets(start, start + dice.uniform(0.1, 59), 10))
        ]
        assert sum(values.cpu_ms for values in found) == usage.cpu_ms
        assert sum(values.covered_ms for values in found) == usage.covered_ms
        assert sum(values.read_bytes or 0 for values in found) == usage.read_bytes


def test_a_first_sample_is_not_recorded() -> None:
    assert list(split_usage(TreeUsage(0.0, 5000, 3), [BucketShare(GRID, 0.0, 1.0)])) == []


def test_percentages_are_stored_in_hundredths() -> None:
    ((timestamp, values),) = split_usage(TreeUsage(12.34, 5, 1, 247, 2000), [BucketShare(GRID, 0.0, 1.0)])
    assert (timestamp, values.cpu_min, values.cpu_max, values.cpu_last) == (GRID, 1234, 1234, 1234)


def test_the_instances_of_a_program_are_added_up() -> None:
    one = TreeUsage(10.0, 100, 1, 200, 2000, 5, None, None)
    two = TreeUsage(20.0, 300, 2, 400, 1500, None, 7, None)
    found = sum_by_program({(1, 0): one, (1, 1): two, (2, 0): one})
    assert found == {1: TreeUsage(30.0, 400, 3, 600, 2000, 5, 7, None), 2: one}
