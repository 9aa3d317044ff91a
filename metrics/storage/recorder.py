"""From samples to points: what was measured waits here until the agent's writer thread has it in the database.

Where something happened, a sample goes in at once and adds to the point it belongs to: a killed agent loses one
sample at most, and the point of a half-finished interval is carried on by the next agent. Of a program that did
nothing it goes in when the interval is over or something happens: that is a fifth of the writing, and at most
one interval is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog
from django.db import transaction

from metrics.models import AgentVitals, HostUsage, RecordedProgram
from metrics.sampling import TreeUsage
from metrics.sampling.host import merge_host_rows

from .bucketing import parts, snapped, spread
from .history_revision import WriterClock
from .rollup import Rollup
from .tiers import RAW
from .values import Values, add_to_points, merged

log = structlog.get_logger(__name__)

MOST_WAITING = 50_000  # points, some 30 MB: a thousand programs for eight minutes, ten for half a day
SLICE = 2000  # points in one transaction


@dataclass
class Interval:
    """What is to be added to the points of one timestamp."""

    points: dict[int, Values] = field(default_factory=dict)  # by program id
    host: HostUsage | None = None
    vitals: AgentVitals | None = None


@dataclass
class Held:
    """What programs that did nothing would add to the points of an interval that is not over."""

    timestamp: int = 0
    points: dict[int, Values] = field(default_factory=dict)


class Recorder:
    """`add` is for the agent's side; what it puts into the journal runs in the writer thread."""

    def __init__(self, host_id: int, put_batch: Callable[[Callable[[], None]], None]) -> None:
        self._host_id = host_id
        self._put_batch = put_batch
        self._lock = threading.Lock()
        self._waiting: dict[int, Interval] = {}  # by timestamp, oldest first
        self._held = Held()
        self._until = 0.0
        self._in_hand: dict[int, Interval] = {}
        self._known_programs: set[int] = set()
        self._rollup = Rollup(host_id)
        self._clock = WriterClock(host_id)
        self.dropped_points = 0
        self.write_seconds = 0.0

    def add(self, start: float, end: float, usages: Mapping[int, TreeUsage]) -> None:
        """What each program used from `start` to `end` (Unix seconds), and has it written soon."""
        pieces = spread(start, end, RAW.width)
        newest = pieces[-1].timestamp
        is_over = newest + RAW.width <= snapped(end, start, RAW.width)
        with self._lock:
            has_ended = is_over or newest != self._held.timestamp
            if newest != self._held.timestamp:
                self._release(newest)
            for program, usage in usages.items():
                is_quiet = not usage.cpu_ms
                for timestamp, values in parts(usage, pieces):
                    self._put(timestamp, program, values, is_quiet=is_quiet)
            if is_over:
                self._release(newest)
            self._until = end
            self._drop_oldest()
        if has_ended or self._waiting:
            self._put_batch(self._write)

    def _put(self, timestamp: int, program: int, values: Values, *, is_quiet: bool) -> None:
        held = self._held
        if timestamp != held.timestamp:
            _add(self._interval(timestamp).points, program, values)
        elif is_quiet:
            _add(held.points, program, values)
        else:
            before = held.points.pop(program, None)
            _add(self._interval(timestamp).points, program, merged(before, values) if before else values)

    def _release(self, timestamp: int) -> None:
        """What was held is to be written; from now on it is about `timestamp`."""
        held, self._held = self._held, Held(timestamp)
        if held.points:
            points = self._interval(held.timestamp).points
            for program, values in held.points.items():
                _add(points, program, values)

    def _interval(self, timestamp: int) -> Interval:
        return self._waiting.setdefault(timestamp, Interval())

    def write_held(self) -> None:
        """What an agent does last: nothing is to be lost by a clean end. Call it in the writer thread."""
        with self._lock:
            self._release(0)
        self._write()

    def add_host(self, timestamp: int, host: HostUsage | None, vitals: AgentVitals | None) -> None:
        """What comes once an interval; written together with the next sample."""
        if host:
            host.host_id, host.timestamp = self._host_id, timestamp
        with self._lock:
            interval = self._interval(timestamp)
            interval.host, interval.vitals = host or interval.host, vitals

    def _drop_oldest(self) -> None:
        """While the database is away the newest points are worth more than the oldest."""
        number = _points(self._waiting)
        while number > MOST_WAITING:
            timestamp = next(iter(self._waiting))
            gone = len(self._waiting.pop(timestamp).points)
            number -= gone
            self.dropped_points += gone
            log.warning("metrics.points_dropped", timestamp=timestamp, points=gone)

    @property
    def waiting_points(self) -> int:
        """Measured and not yet in the database, though they could be."""
        with self._lock:
            return _points(self._waiting) + _points(self._in_hand)

    @property
    def recorded_until(self) -> int:
        """Everything that was measured before this moment (a line of the grid) is in the database."""
        with self._lock:
            held = [self._held.timestamp] if self._held.points else []
            return min([RAW.floor(int(self._until)), *held, *self._waiting, *self._in_hand])

    # --- The writer thread ------------------------------------------------------------------------------

    def _write(self) -> None:
        """One slice of what waits. What was taken stays in hand until the database has it."""
        begun = time.monotonic()
        self._rollup.load()
        if not self._in_hand:
            self._take()
        for timestamp, interval in self._in_hand.items():
            period = RAW.period_of(timestamp)
            self._rollup.mark(RAW, period)
            self._note_programs(interval.points.keys() - self._known_programs)
            add_to_points(period, timestamp, interval.points)
            if interval.host:
                _add_host(interval.host)
            if interval.vitals:
                interval.vitals.save()
        if self._in_hand:
            newest = self._clock.note(min(self._in_hand), time.time())
            transaction.on_commit(partial(self._clock.noted, newest))
        transaction.on_commit(partial(self._written, begun))

    def _take(self) -> None:
        taken: dict[int, Interval] = {}
        number = 0
        with self._lock:
            while self._waiting and number < SLICE:
                timestamp = next(iter(self._waiting))
                taken[timestamp] = self._waiting.pop(timestamp)
                number += len(taken[timestamp].points)
            self._in_hand = taken

    def _note_programs(self, new: set[int]) -> None:
        if new:
            rows = [RecordedProgram(program_id=program) for program in new]
            RecordedProgram.objects.bulk_create(rows, ignore_conflicts=True)

    def _written(self, begun: float) -> None:
        if self._in_hand:
            self.write_seconds = time.monotonic() - begun
        for timestamp, interval in self._in_hand.items():
            self._known_programs |= interval.points.keys()
            self._rollup.stream.add(timestamp, interval.points)
        self._in_hand = {}
        with self._lock:
            is_all, until = not self._waiting, self._until
        if not is_all:
            self._put_batch(self._write)
        elif self._rollup.is_due(until):
            self._put_batch(self._roll_up)

    def _roll_up(self) -> None:
        """One slice; periods are over when everything up to their end is written."""
        with self._lock:
            is_all, until = not self._waiting, self._until
        if is_all and not self._in_hand:
            self._rollup.step(until)
            transaction.on_commit(lambda: self._put_batch(self._roll_up) if self._rollup.is_due(until) else None)


def _points(intervals: Mapping[int, Interval]) -> int:
    return sum(len(interval.points) for interval in intervals.values())


def _add(points: dict[int, Values], program: int, values: Values) -> None:
    before = points.get(program)
    points[program] = merged(before, values) if before else values


def _add_host(row: HostUsage) -> None:
    """Adds to the row that is there, if an agent before this one had begun the interval."""
    before = HostUsage.objects.filter(host=row.host_id, step=row.step, timestamp=row.timestamp).first()
    both = merge_host_rows([before, row]) if before else row
    if both is None:
        return
    both.step, both.timestamp = row.step, row.timestamp
    both.save()
