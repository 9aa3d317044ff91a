"""Accumulates points into rows of coarser tiers, and the stream of written points into rows of the minute tier."""

from __future__ import annotations

from collections.abc import Mapping

from . import histogram
from .tiers import RAW
from .values import UsageRow, Values, merge


class Accumulator:
    """The usage of one program, accumulated from points or finer rows in chronological order."""

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
        self.values = merge(self.values, values) if self.values else values

    def row(self, period: int, program_id: int, timestamp: int) -> UsageRow:
        key = (period, program_id, timestamp)
        return (*key, *(self.values or ()), histogram.encode(self.cpu), histogram.encode(self.memory))


class MinuteStream:
    """Accumulates the points of each minute while they are written, so that the roll-up need not read them.

    It only returns minutes of which it saw every point: those that began after `seen_until` (the newest minute in
    the database when it was created) and during which the clock was not set back. The others are read from the
    table.
    """

    def __init__(self, seen_until: int) -> None:
        self._closed_minute = seen_until  # minutes up to this one are not returned
        self._newest = 0
        self._points: dict[int, tuple[int, Values]] = {}  # program → timestamp, values so far
        self._minutes: dict[int, dict[int, Accumulator]] = {}

    def add(self, timestamp: int, points: Mapping[int, Values]) -> None:
        if timestamp < self._newest:  # the clock was set back: the minutes since are incomplete
            self._closed_minute = max(self._closed_minute, RAW.period_of(self._newest))
        self._newest = max(self._newest, timestamp)
        if RAW.period_of(timestamp) <= self._closed_minute:
            return
        for program, values in points.items():
            current = self._points.get(program)
            if current and current[0] == timestamp:
                values = merge(current[1], values)
            elif current:
                self._add_finished_point(program)
            self._points[program] = (timestamp, values)

    def _add_finished_point(self, program: int) -> None:
        timestamp, values = self._points.pop(program)
        accumulators = self._minutes.setdefault(RAW.period_of(timestamp), {})
        accumulators.setdefault(program, Accumulator()).add_point(values)

    def take_minute(self, minute: int) -> dict[int, Accumulator] | None:
        """The minute's accumulators by program, or None if they must be read from the table."""
        is_complete = minute > self._closed_minute
        for program in [
            p for p, (timestamp, _) in self._points.items() if timestamp < minute + RAW.period_seconds
        ]:
            self._add_finished_point(program)
        self._closed_minute = max(self._closed_minute, minute)
        accumulators = self._minutes.pop(minute, {})
        return accumulators if is_complete else None
