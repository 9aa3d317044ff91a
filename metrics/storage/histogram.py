"""Mergeable log-scale histograms of a few bytes, from which percentiles are computed.

Bins grow in proportion to the value, so the relative error is a few percent everywhere. The stored form is one
little-endian 32-bit word per non-empty bin: the bin in the upper byte, the count in the other three.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

BINS = 256  # bin 0 holds everything below `lowest`, the last one everything above the highest
COUNT_MASK = (1 << 24) - 1


@dataclass(frozen=True)
class HistogramScale:
    """The values of the bins; each bin begins at `ratio` times the beginning of the one before."""

    lowest: float
    ratio: float

    def bin_of(self, value: float) -> int:
        if value < self.lowest:
            return 0
        return min(1 + int(math.log(value / self.lowest) / math.log(self.ratio)), BINS - 1)

    def value_of(self, bin_: int) -> float:
        return self.lowest * self.ratio ** (bin_ - 0.5) if bin_ else 0.0


def scale_between(lowest: float, highest: float) -> HistogramScale:
    return HistogramScale(lowest, (highest / lowest) ** (1 / (BINS - 2)))


CPU = scale_between(10, 2_560_000)  # hundredths of a percent: from 0.1 % to 256 cores, exact to 2.5 %
MEMORY = scale_between(1 << 16, 1 << 44)  # bytes: from 64 KiB to 16 TiB, exact to 3.9 %

Counts = Mapping[int, int]  # bin → count


def encode(counts: Counts) -> bytes:
    words = [bin_ << 24 | min(count, COUNT_MASK) for bin_, count in sorted(counts.items())]
    return struct.pack(f"<{len(words)}I", *words)


def add(counts: dict[int, int], stored: bytes | memoryview) -> None:
    for word in struct.unpack(f"<{len(stored) // 4}I", stored):
        bin_ = word >> 24
        counts[bin_] = counts.get(bin_, 0) + (word & COUNT_MASK)


def percentiles(
    stored: Iterable[bytes | memoryview], shares: Iterable[float], scale: HistogramScale
) -> list[float]:
    """The value at each of `shares` (0 to 1) over all histograms together; empty without points.

    A caller that knows the minimum and maximum should clamp the results to them.
    """
    joined = b"".join(stored)
    # The bin is in the upper byte, so sorting the words sorts them by bin without decoding each.
    words = sorted(struct.unpack(f"<{len(joined) // 4}I", joined))
    cumulative = list(accumulate(word & COUNT_MASK for word in words))
    if not cumulative:
        return []
    ranks = (max(1, math.ceil(share * cumulative[-1])) for share in shares)
    return [scale.value_of(words[bisect_left(cumulative, rank)] >> 24) for rank in ranks]
