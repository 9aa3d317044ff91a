"""The memory limit, sample by sample."""

from __future__ import annotations

import pytest

from programs.supervisor.memory import MemoryLimit


def exceeded(samples: list[int], allowed: int | None = 100) -> list[bool]:
    limit = MemoryLimit()
    return [limit.is_exceeded(used, allowed) for used in samples]


@pytest.mark.parametrize("samples", [[100, 100, 100, 100], [101, 101, 100, 101, 101], [300, 300]])
def test_a_short_peak_is_allowed(samples: list[int]) -> None:
    assert not any(exceeded(samples))


def test_the_third_sample_in_a_row_exceeds_it_and_counting_starts_over() -> None:
    assert exceeded([101] * 7) == [False, False, True, False, False, True, False]


def test_without_a_limit_everything_is_allowed() -> None:
    assert not any(exceeded([10**12] * 5, allowed=None))
