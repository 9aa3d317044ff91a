"""How often which value occurred, in a few bytes that can be added up: what percentiles are made of.

The bins grow in proportion to the value, so an answer is off by a few percent of itself wherever it lies. Stored
is one little-endian 32-bit word for each bin that was hit: the bin in its upper byte, the count in the others.
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
class Scale:
    """Which values the bins stand for; `ratio` is how much higher each begins than the one before."""

    lowest: float
    ratio: float

    def bin_of(self, value: float) -> int:
        if value < self.lowest:
            return 0
        return min(1 + int(math.log(value / self.lowest) / math.log(self.ratio)), BINS - 1)

    def value_of(self, bin_: int) -> float:
        """The middle of a bin, as a ratio; nothing for bin 0."""
        return self.lowest * self.ratio ** (bin_ - 0.5) if bin_ else 0.0


def reaching(lowest: float, highest: float) -> Scale:
    return Scale(lowest, (highest / lowest) ** (1 / (BINS - 2)))


CPU = reaching(10, 2_560_000)  # hundredths of a percent: from 0.1 % to 256 cores, exact to 2.5 %
MEMORY = reaching(1 << 16, 1 << 44)  # bytes: from 64 KiB to 16 TiB, exact to 3.9 %

Counts = Mapping[int, int]  # bin → how often


def encode(counts: Counts) -> bytes:
    words = [bin_ << 24 | min(count, COUNT_MASK) for bin_, count in sorted(counts.items())]
    return struct.pack(f"<{len(words)}I", *words)


def add(counts: dict[int, int], stored: bytes | memoryview) -> None:
    """Adds what `encode` made to `counts`."""
    for word in struct.unpack(f"<{len(stored) // 4}I", stored):
        bin_ = word >> 24
        counts[bin_] = counts.get(bin_, 0) + (word & COUNT_MASK)


def percentiles(stored: Iterable[bytes | memoryview], shares: Iterable[float], scale: Scale) -> list[float]:
    """The value that each of `shares` (0 to 1) of all points together do not exceed; empty without points.

    Whoever knows the lowest and the highest value does well to hold the answers between them.
    """
    together = b"".join(stored)
    # A word begins with its bin, so sorted words are sorted by bin: nothing has to be added up for each of them.
    words = sorted(struct.unpack(f"<{len(together) // 4}I", together))
    up_to = list(accumulate(word & COUNT_MASK for word in words))
    if not up_to:
        return []
    ranks = (max(1, math.ceil(share * up_to[-1])) for share in shares)
    return [scale.value_of(words[bisect_left(up_to, rank)] >> 24) for rank in ranks]
