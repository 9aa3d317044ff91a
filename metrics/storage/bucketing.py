"""Lays samples, which come when they come, onto the grid of points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from metrics.sampling import TreeUsage

from .values import Values

# A sample that reaches over a line of the grid by less than this part of itself and of the interval is cut there.
SNAP_SHARE = 0.25
SNAP_INTERVAL = 0.1
LONGEST_SECONDS = 60  # of a sample that took longer; how it went before that nobody saw, so it is a gap


class Piece(NamedTuple):
    """The part of a sample that lies in one interval: from share `begin` of the sample to share `end` (0 to 1)."""

    timestamp: int
    begin: float
    end: float


def spread(start: float, end: float, width: int) -> list[Piece]:
    """The intervals of `width` seconds that the time from `start` to `end` lies in, in order; one at least."""
    left, right = snapped(start, end, width), snapped(end, start, width)
    length = right - left
    if length <= 0:
        return [Piece(int(end // width) * width, 0.0, 1.0)]
    pieces = []
    timestamp = int(max(left, right - LONGEST_SECONDS) // width) * width
    while timestamp < right:
        begin, stop = max(left, timestamp), min(right, timestamp + width)
        pieces.append(Piece(timestamp, (begin - left) / length, (stop - left) / length))
        timestamp += width
    return pieces


def snapped(moment: float, other_end: float, width: int) -> float:
    """One end of a sample, moved onto the line of the grid if that is near."""
    line = round(moment / width) * width
    reach = min(SNAP_SHARE * abs(moment - other_end), SNAP_INTERVAL * width)
    return float(line) if abs(moment - line) < reach else moment


def parts(usage: TreeUsage, pieces: Sequence[Piece]) -> Iterator[tuple[int, Values]]:
    """The use, by timestamp. Together the parts are exactly the whole; nothing where nothing could be compared."""
    if not usage.covered_ms:
        return
    whole = _values(usage)
    if len(pieces) == 1:
        yield pieces[0].timestamp, whole
        return
    for piece in pieces:
        yield (
            piece.timestamp,
            whole._replace(
                covered_ms=_share(usage.covered_ms, piece),
                cpu_ms=_share(usage.cpu_ms, piece),
                read_bytes=_share_if_told(usage.read_bytes, piece),
                write_bytes=_share_if_told(usage.write_bytes, piece),
            ),
        )


def _values(usage: TreeUsage) -> Values:
    percent, memory, threads, cpu_ms, covered_ms, open_files, read_bytes, write_bytes = usage
    cpu = round(100 * percent)
    memories, rest = (memory,) * 4, (threads, open_files, read_bytes, write_bytes)
    return Values(1, covered_ms, cpu_ms, cpu, cpu, cpu, *memories, *rest)


def _share(amount: int, piece: Piece) -> int:
    return round(amount * piece.end) - round(amount * piece.begin)


def _share_if_told(amount: int | None, piece: Piece) -> int | None:
    return None if amount is None else _share(amount, piece)


def of_programs(usages: dict[tuple[int, int], TreeUsage]) -> dict[int, TreeUsage]:
    """The instances of each program together, by program id."""
    programs: dict[int, TreeUsage] = {}
    for (program, _), usage in usages.items():
        before = programs.get(program)
        programs[program] = _together(before, usage) if before else usage
    return programs


def _together(one: TreeUsage, other: TreeUsage) -> TreeUsage:
    return TreeUsage(
        one.cpu_percent + other.cpu_percent,
        one.memory_bytes + other.memory_bytes,
        one.threads + other.threads,
        one.cpu_ms + other.cpu_ms,
        max(one.covered_ms, other.covered_ms),
        _sum(one.open_files, other.open_files),
        _sum(one.read_bytes, other.read_bytes),
        _sum(one.write_bytes, other.write_bytes),
    )


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other
