"""A row of a coarse tier in the making, and the stream of points that makes those of the minute."""

from __future__ import annotations

from collections.abc import Mapping

from . import histogram
from .tiers import RAW
from .values import Row, Values, merged


class Accumulator:
    """What one program used over a while, from points or from the rows of a finer tier, in the order of time."""

    __slots__ = ("cpu", "memory", "values")

    def __init__(self) -> None:
        self.values: Values | None = None
        self.cpu: dict[int, int] = {}
        self.memory: dict[int, int] = {}

    def add_point(self, values: Values) -> None:
        cpu = histogram.CPU.bin_of(values.cpu_average)
        memory = histogram.MEMORY.bin_of(values.memory_sum / values.samples)
        self.cpu[cpu] = self.cpu.get(cpu, 0) + 1
        self.memory[memory] = self.memory.get(memory, 0) + 1
        self._add(values)

    def add_row(self, values: Values, cpu: bytes, memory: bytes) -> None:
        histogram.add(self.cpu, cpu)
        histogram.add(self.memory, memory)
        self._add(values)

    def _add(self, values: Values) -> None:
        self.values = merged(self.values, values) if self.values else values

    def row(self, period: int, program_id: int, timestamp: int) -> Row:
        """For `values.replace_rows`."""
        key = (period, program_id, timestamp)
        return (*key, *(self.values or ()), histogram.encode(self.cpu), histogram.encode(self.memory))


class MinuteStream:
    """Adds up the points of each minute as they are written, so that none is ever read again.

    It vouches only for minutes of which it saw every point: those that began after `seen_until`, the newest of the
    database when it was made, and through which the clock ran forwards. Others have to be added up from the table.
    """

    def __init__(self, seen_until: int) -> None:
        self._closed = seen_until  # it vouches for no minute up to this one
        self._newest = 0
        self._points: dict[int, tuple[int, Values]] = {}  # program → timestamp, what is known of the point
        self._minutes: dict[int, dict[int, Accumulator]] = {}

    def add(self, timestamp: int, points: Mapping[int, Values]) -> None:
        """Parts of points that are in the database now."""
        if timestamp < self._newest:  # what was seen since will be gone through once more
            self._closed = max(self._closed, RAW.period_of(self._newest))
        self._newest = max(self._newest, timestamp)
        if RAW.period_of(timestamp) <= self._closed:
            return
        for program, values in points.items():
            current = self._points.get(program)
            if current and current[0] == timestamp:
                values = merged(current[1], values)
            elif current:
                self._fold(program)
            self._points[program] = (timestamp, values)

    def _fold(self, program: int) -> None:
        timestamp, values = self._points.pop(program)
        stretches = self._minutes.setdefault(RAW.period_of(timestamp), {})
        stretches.setdefault(program, Accumulator()).add_point(values)

    def take(self, minute: int) -> dict[int, Accumulator] | None:
        """What the minute came to, by program; None where the table has to be asked."""
        is_whole = minute > self._closed
        for program in [
            p for p, (timestamp, _) in self._points.items() if timestamp < minute + RAW.period_seconds
        ]:
            self._fold(program)
        self._closed = max(self._closed, minute)
        stretches = self._minutes.pop(minute, {})
        return stretches if is_whole else None
