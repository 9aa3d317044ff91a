"""From samples to points: what was measured waits here until the agent's writer thread has it in the database.

Each sample goes in at once and adds to the point it belongs to. So a killed agent loses one sample at most, and
the point of a half-finished interval is carried on by the next agent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog
from django.db import transaction

from .host import merged_rows
from .models import AgentVitals, HostUsage, RecordedProgram
from .revisions import WriterClock
from .rollup import Rollup
from .sampler import TreeUsage
from .spread import parts, spread
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


class Recorder:
    """`add` is for the agent's side; what it puts into the journal runs in the writer thread."""

    def __init__(self, host_id: int, put_batch: Callable[[Callable[[], None]], None]) -> None:
        self._host_id = host_id
        self._put_batch = put_batch
        self._lock = threading.Lock()
        self._waiting: dict[int, Interval] = {}  # by timestamp, oldest first
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
        with self._lock:
            for program, usage in usages.items():
                for timestamp, values in parts(usage, pieces):
                    _add(self._waiting.setdefault(timestamp, Interval()).points, program, values)
            self._until = end
            self._drop_oldest()
        self._put_batch(self._write)

    def add_host(self, timestamp: int, host: HostUsage | None, vitals: AgentVitals | None) -> None:
        """What comes once an interval; written together with the next sample."""
        if host:
            host.host_id, host.timestamp = self._host_id, timestamp
        with self._lock:
            interval = self._waiting.setdefault(timestamp, Interval())
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
        """Measured and not yet in the database."""
        with self._lock:
            return _points(self._waiting) + _points(self._in_hand)

    # --- The writer thread ------------------------------------------------------------------------------

    def _write(self) -> None:
        """One slice of what waits. What was taken stays in hand until the database has it."""
        begun = time.monotonic()
        self._rollup.load()
        if not self._in_hand:
            self._in_hand = self._take()
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

    def _take(self) -> dict[int, Interval]:
        taken: dict[int, Interval] = {}
        number = 0
        with self._lock:
            while self._waiting and number < SLICE:
                timestamp = next(iter(self._waiting))
                taken[timestamp] = self._waiting.pop(timestamp)
                number += len(taken[timestamp].points)
        return taken

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
    both = merged_rows([before, row]) if before else row
    if both is None:
        return
    both.step, both.timestamp = row.step, row.timestamp
    both.save()
