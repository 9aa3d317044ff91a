"""Bucketing: splits samples, which have arbitrary start and end times, over the intervals of recorded points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from metrics.sampling import TreeUsage

from .values import Values

# A sample that crosses an interval boundary by less than these fractions of itself and of the interval is cut
# there.
SNAP_FRACTION = 0.25
SNAP_INTERVAL = 0.1
MAX_SAMPLE_SECONDS = 60  # of a longer sample, the time before is left as a gap


class BucketShare(NamedTuple):
    """The part of a sample in one interval: from fraction `begin` to fraction `end` of the sample (0 to 1)."""

    timestamp: int
    begin: float
    end: float


def split_over_buckets(start: float, end: float, width: int) -> list[BucketShare]:
    """The intervals of `width` seconds between `start` and `end`, in order; at least one."""
    left, right = snap_to_grid(start, end, width), snap_to_grid(end, start, width)
    length = right - left
    if length <= 0:
        return [BucketShare(int(end // width) * width, 0.0, 1.0)]
    shares = []
    timestamp = int(max(left, right - MAX_SAMPLE_SECONDS) // width) * width
    while timestamp < right:
        begin, stop = max(left, timestamp), min(right, timestamp + width)
        shares.append(BucketShare(timestamp, (begin - left) / length, (stop - left) / length))
        timestamp += width
    return shares


def snap_to_grid(time: float, other_end: float, width: int) -> float:
    """One end of a sample, moved to the nearest interval boundary if that is close."""
    boundary = round(time / width) * width
    tolerance = min(SNAP_FRACTION * abs(time - other_end), SNAP_INTERVAL * width)
    return float(boundary) if abs(time - boundary) < tolerance else time


def split_usage(usage: TreeUsage, shares: Sequence[BucketShare]) -> Iterator[tuple[int, Values]]:
    """The usage by timestamp of its interval. The parts add up to exactly the whole. Empty for a first sample."""
    if not usage.covered_ms:
        return
    whole = _to_values(usage)
    if len(shares) == 1:
        yield shares[0].timestamp, whole
        return
    for share in shares:
        yield (
            share.timestamp,
            whole._replace(
                covered_ms=_share(usage.covered_ms, share),
                cpu_ms=_share(usage.cpu_ms, share),
                read_bytes=_optional_share(usage.read_bytes, share),
                write_bytes=_optional_share(usage.write_bytes, share),
            ),
        )


def _to_values(usage: TreeUsage) -> Values:
    percent, memory, threads, cpu_ms, covered_ms, open_files, read_bytes, write_bytes = usage
    cpu = round(100 * percent)
    memories, rest = (memory,) * 4, (threads, open_files, read_bytes, write_bytes)
    return Values(1, covered_ms, cpu_ms, cpu, cpu, cpu, *memories, *rest)


def _share(amount: int, share: BucketShare) -> int:
    return round(amount * share.end) - round(amount * share.begin)


def _optional_share(amount: int | None, share: BucketShare) -> int | None:
    return None if amount is None else _share(amount, share)


def sum_by_program(usages: dict[tuple[int, int], TreeUsage]) -> dict[int, TreeUsage]:
    programs: dict[int, TreeUsage] = {}
    for (program, _), usage in usages.items():
        before = programs.get(program)
        programs[program] = _add_usage(before, usage) if before else usage
    return programs


def _add_usage(one: TreeUsage, other: TreeUsage) -> TreeUsage:
    return TreeUsage(
        one.cpu_percent + other.cpu_percent,
        one.memory_bytes + other.memory_bytes,
        one.threads + other.threads,
        one.cpu_ms + other.cpu_ms,
        max(one.covered_ms, other.covered_ms),
        _optional_sum(one.open_files, other.open_files),
        _optional_sum(one.read_bytes, other.read_bytes),
        _optional_sum(one.write_bytes, other.write_bytes),
    )


def _optional_sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other
