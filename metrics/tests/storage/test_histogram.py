"""Histograms and the percentiles computed from them."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from metrics.storage.histogram import CPU, MEMORY, Counts, HistogramScale, add, encode, percentiles


def percentile(counts: Counts, share: float, scale: HistogramScale) -> float | None:
    return next(iter(percentiles([encode(counts)], [share], scale)), None)


@pytest.mark.parametrize(("scale", "lowest", "highest"), [(CPU, 10, 2_500_000), (MEMORY, 1 << 16, 1 << 43)])
def test_a_percentile_is_within_four_percent_of_the_exact_one(
    scale: HistogramScale, lowest: int, highest: int
) -> None:
    dice = random.Random(1)
    values = sorted(dice.uniform(lowest, highest) ** dice.uniform(0.5, 1) + lowest for _ in range(5000))
    counts = Counter(scale.bin_of(value) for value in values)
    for share in (0.05, 0.5, 0.95, 0.99):
        true = values[round(share * 5000) - 1]
        assert percentile(counts, share, scale) == pytest.approx(true, rel=0.04)


def test_merged_histograms_equal_that_of_all_values() -> None:
    first, second = Counter({1: 2, 7: 1}), Counter({7: 5, 255: 1})
    counts: dict[int, int] = {}
    for stored in (encode(first), encode(second), b""):
        add(counts, stored)
    assert counts == first + second


def test_percentiles_are_computed_over_all_histograms() -> None:
    dice = random.Random(2)
    parts = [Counter(dice.randint(0, 255) for _ in range(dice.randint(0, 50))) for _ in range(40)]
    whole = encode(sum(parts, Counter()))
    shares = [0.0, 0.01, 0.5, 0.95, 1.0]
    assert percentiles(map(encode, parts), shares, MEMORY) == percentiles([whole], shares, MEMORY)


def test_a_histogram_takes_four_bytes_per_non_empty_bin() -> None:
    assert len(encode(Counter(CPU.bin_of(100) for _ in range(8640)))) == 4


def test_values_outside_the_scale_go_to_the_first_and_last_bin() -> None:
    assert CPU.bin_of(0) == CPU.bin_of(9) == 0
    assert MEMORY.bin_of(1 << 60) == 255
    assert percentile({0: 5}, 0.95, CPU) == 0.0


def test_without_points_there_is_no_percentile() -> None:
    assert percentile({}, 0.95, CPU) is None


def test_one_high_point_in_twenty_is_not_yet_the_95th_percentile() -> None:
    calm, busy = CPU.bin_of(100), CPU.bin_of(9000)
    assert percentile({calm: 19, busy: 1}, 0.95, CPU) == CPU.value_of(calm)
    assert percentile({calm: 18, busy: 2}, 0.95, CPU) == CPU.value_of(busy)
