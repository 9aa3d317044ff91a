"""Samples on the grid of points: every moment of them once, and nothing else."""

from __future__ import annotations

import random

import pytest

from metrics.sampling import TreeUsage
from metrics.storage.bucketing import Piece, of_programs, parts, spread

GRID = 1_800_000_000  # a line of every grid


def test_a_sample_within_an_interval_is_one_piece() -> None:
    assert spread(GRID + 2.0, GRID + 4.0, 10) == [Piece(GRID, 0.0, 1.0)]


def test_a_sample_across_a_line_is_cut_there() -> None:
    assert spread(GRID + 9.0, GRID + 11.0, 10) == [Piece(GRID, 0.0, 0.5), Piece(GRID + 10, 0.5, 1.0)]


@pytest.mark.parametrize("lag", [-0.3, -0.002, 0.0, 0.004, 0.3])
def test_ticks_near_the_line_do_not_make_crumbs(lag: float) -> None:
    assert spread(GRID + 8.0 + lag, GRID + 10.0 + lag, 10) == [Piece(GRID, 0.0, 1.0)]
    assert spread(GRID + 10.0 + lag, GRID + 12.0 + lag, 10) == [Piece(GRID + 10, 0.0, 1.0)]


def test_a_late_tick_fills_the_intervals_that_it_slept_through() -> None:
    assert [piece.timestamp for piece in spread(GRID + 4.0, GRID + 34.0, 10)] == [
        GRID,
        GRID + 10,
        GRID + 20,
        GRID + 30,
    ]


def test_what_nobody_saw_for_longer_than_a_minute_is_a_gap() -> None:
    pieces = spread(GRID, GRID + 3600.0, 10)
    assert pieces[0].timestamp == GRID + 3540
    assert pieces[0].begin == pytest.approx(3540 / 3600)


def test_a_clock_that_stood_still_makes_one_piece() -> None:
    assert spread(GRID + 5.0, GRID + 5.0, 10) == [Piece(GRID, 0.0, 1.0)]


def test_the_parts_are_together_exactly_the_whole() -> None:
    dice = random.Random(4)
    for _ in range(300):
        usage = TreeUsage(1.0, 7, 1, dice.randrange(9999), dice.randrange(1, 60_000), 3, dice.randrange(99), 5)
        start = GRID + dice.uniform(0, 20)
        found = [values for _, values in parts(usage, spread(start, start + dice.uniform(0.1, 59), 10))]
        assert sum(values.cpu_ms for values in found) == usage.cpu_ms
        assert sum(values.covered_ms for values in found) == usage.covered_ms
        assert sum(values.read_bytes or 0 for values in found) == usage.read_bytes


def test_without_anything_to_compare_with_nothing_is_recorded() -> None:
    assert list(parts(TreeUsage(0.0, 5000, 3), [Piece(GRID, 0.0, 1.0)])) == []


def test_percentages_are_kept_in_hundredths() -> None:
    ((timestamp, values),) = parts(TreeUsage(12.34, 5, 1, 247, 2000), [Piece(GRID, 0.0, 1.0)])
    assert (timestamp, values.cpu_min, values.cpu_max, values.cpu_last) == (GRID, 1234, 1234, 1234)


def test_the_instances_of_a_program_are_added_up() -> None:
    one = TreeUsage(10.0, 100, 1, 200, 2000, 5, None, None)
    two = TreeUsage(20.0, 300, 2, 400, 1500, None, 7, None)
    found = of_programs({(1, 0): one, (1, 1): two, (2, 0): one})
    assert found == {1: TreeUsage(30.0, 400, 3, 600, 2000, 5, 7, None), 2: one}
