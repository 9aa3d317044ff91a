"""Records samples as points: buffers them until the agent's writer thread has committed them.

The sample of a program that used CPU is written at once and added to the point of its interval: a killed agent
loses at most one sample, and the next agent continues the unfinished point. The samples of an idle program are
held back until the interval is over or it uses CPU, which saves four fifths of the writes and risks at most one
interval.
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

from .bucketing import snap_to_grid, split_over_buckets, split_usage
from .history_revision import WriterClock
from .rollup import Rollup
from .tiers import RAW
from .values import Values, add_to_points, merge

log = structlog.get_logger(__name__)

MAX_WAITING_POINTS = 50_000  # about 30 MB: 1,000 programs for 8 minutes, 10 for half a day
SLICE_POINTS = 2000  # in one transaction


@dataclass
class PendingInterval:
    """Values to add to the points of one timestamp."""

    points: dict[int, Values] = field(default_factory=dict)  # by program id
    host: HostUsage | None = None
    vitals: AgentVitals | None = None


@dataclass
class QuietPoints:
    """Values of idle programs, held back while their interval is not over."""

    timestamp: int = 0
    points: dict[int, Values] = field(default_factory=dict)


class Recorder:
    """`add` is called by the sampling thread; the writes run in the journal's writer thread."""

    def __init__(self, host_id: int, put_batch: Callable[[Callable[[], None]], None]) -> None:
        self._host_id = host_id
        self._put_batch = put_batch
        self._lock = threading.Lock()
        self._waiting: dict[int, PendingInterval] = {}  # by timestamp, oldest first
        self._quiet = QuietPoints()
        self._sampled_until = 0.0
        self._in_flight: dict[int, PendingInterval] = {}  # taken by a transaction that is not committed yet
        self._known_programs: set[int] = set()  # saves an INSERT per program and write
        self._rollup = Rollup(host_id)
        self._clock = WriterClock(host_id)
        self.dropped_points = 0
        self.write_seconds = 0.0

    def add(self, start: float, end: float, usages: Mapping[int, TreeUsage]) -> None:
        """Queues the usage of each program from `start` to `end` (Unix seconds) for writing."""
        shares = split_over_buckets(start, end, RAW.width)
        newest = shares[-1].timestamp
        is_over = newest + RAW.width <= snap_to_grid(end, start, RAW.width)
        with self._lock:
            has_ended = is_over or newest != self._quiet.timestamp
            if newest != self._quiet.timestamp:
                self._flush_quiet(newest)
            for program, usage in usages.items():
                is_quiet = not usage.cpu_ms
                for timestamp, values in split_usage(usage, shares):
                    self._add_values(timestamp, program, values, is_quiet=is_quiet)
            if is_over:
                self._flush_quiet(newest)
            self._sampled_until = end
            self._drop_oldest()
        if has_ended or self._waiting:
            self._put_batch(self._write)

    def _add_values(self, timestamp: int, program: int, values: Values, *, is_quiet: bool) -> None:
        quiet = self._quiet
        if timestamp != quiet.timestamp:
            _add(self._pending_interval(timestamp).points, program, values)
        elif is_quiet:
            _add(quiet.points, program, values)
        else:
            before = quiet.points.pop(program, None)
            _add(self._pending_interval(timestamp).points, program, merge(before, values) if before else values)

    def _flush_quiet(self, timestamp: int) -> None:
        quiet, self._quiet = self._quiet, QuietPoints(timestamp)
        if quiet.points:
            points = self._pending_interval(quiet.timestamp).points
            for program, values in quiet.points.items():
                _add(points, program, values)

    def _pending_interval(self, timestamp: int) -> PendingInterval:
        return self._waiting.setdefault(timestamp, PendingInterval())

    def flush(self) -> None:
        """Writes everything, also held-back values, when the agent stops. Call it in the writer thread."""
        with self._lock:
            self._flush_quiet(0)
        self._write()

    def add_host(self, timestamp: int, host: HostUsage | None, vitals: AgentVitals | None) -> None:
        if host:
            host.host_id, host.timestamp = self._host_id, timestamp
        with self._lock:
            interval = self._pending_interval(timestamp)
            interval.host, interval.vitals = host or interval.host, vitals

    def _drop_oldest(self) -> None:
        # Bounds memory during an outage. The newest points matter more than the oldest.
        count = _count_points(self._waiting)
        while count > MAX_WAITING_POINTS:
            timestamp = next(iter(self._waiting))
            dropped = len(self._waiting.pop(timestamp).points)
            count -= dropped
            self.dropped_points += dropped
            log.warning("metrics.points_dropped", timestamp=timestamp, points=dropped)

    @property
    def waiting_points(self) -> int:
        """Points that are not in the database yet, without held-back ones."""
        with self._lock:
            return _count_points(self._waiting) + _count_points(self._in_flight)

    @property
    def recorded_until(self) -> int:
        """All samples before this Unix time (an interval boundary) are in the database."""
        with self._lock:
            quiet = [self._quiet.timestamp] if self._quiet.points else []
            return min([RAW.floor(int(self._sampled_until)), *quiet, *self._waiting, *self._in_flight])

    # --- The writer thread ------------------------------------------------------------------------------

    def _write(self) -> None:
        # The slice stays in `_in_flight` until it is committed, so that a failed write is repeated.
        started_at = time.monotonic()
        self._rollup.load()
        if not self._in_flight:
            self._take_slice()
        for timestamp, interval in self._in_flight.items():
            period = RAW.period_of(timestamp)
            self._rollup.mark(RAW, period)
            self._store_new_programs(interval.points.keys() - self._known_programs)
            add_to_points(period, timestamp, interval.points)
            if interval.host:
                _add_host(interval.host)
            if interval.vitals:
                interval.vitals.save()
        if self._in_flight:
            newest = self._clock.record_write(min(self._in_flight), time.time())
            transaction.on_commit(partial(self._clock.committed, newest))
        transaction.on_commit(partial(self._written, started_at))

    def _take_slice(self) -> None:
        taken: dict[int, PendingInterval] = {}
        count = 0
        with self._lock:
            while self._waiting and count < SLICE_POINTS:
                timestamp = next(iter(self._waiting))
                taken[timestamp] = self._waiting.pop(timestamp)
                count += len(taken[timestamp].points)
            self._in_flight = taken

    def _store_new_programs(self, new: set[int]) -> None:
        if new:
            rows = [RecordedProgram(program_id=program) for program in new]
            RecordedProgram.objects.bulk_create(rows, ignore_conflicts=True)

    def _written(self, started_at: float) -> None:
        if self._in_flight:
            self.write_seconds = time.monotonic() - started_at
        for timestamp, interval in self._in_flight.items():
            self._known_programs |= interval.points.keys()
            self._rollup.stream.add(timestamp, interval.points)
        self._in_flight = {}
        with self._lock:
            is_drained, sampled_until = not self._waiting, self._sampled_until
        if not is_drained:
            self._put_batch(self._write)
        elif self._rollup.is_due(sampled_until):
            self._put_batch(self._roll_up)

    def _roll_up(self) -> None:
        # Only once all points are written: a period must be complete.
        with self._lock:
            is_drained, sampled_until = not self._waiting, self._sampled_until
        if is_drained and not self._in_flight:
            self._rollup.step(sampled_until)
            transaction.on_commit(
                lambda: self._put_batch(self._roll_up) if self._rollup.is_due(sampled_until) else None
            )


def _count_points(intervals: Mapping[int, PendingInterval]) -> int:
    return sum(len(interval.points) for interval in intervals.values())


def _add(points: dict[int, Values], program: int, values: Values) -> None:
    before = points.get(program)
    points[program] = merge(before, values) if before else values


def _add_host(row: HostUsage) -> None:
    # A previous agent may have begun the interval.
    before = HostUsage.objects.filter(host=row.host_id, step=row.step, timestamp=row.timestamp).first()
    both = merge_host_rows([before, row]) if before else row
    if both is None:
        return
    both.step, both.timestamp = row.step, row.timestamp
    both.save()
