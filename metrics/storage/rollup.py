"""Roll-up: when a period is over, its rows are aggregated into one row of the next coarser tier.

An OpenPeriod row marks pending work, and repeating the work changes nothing, so an agent may be killed at any
point. The work is done in slices, each a short transaction in the agent's writer thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from django.db import models, transaction
from django.utils import timezone

from metrics.models import HostUsage, OpenPeriod, ResourceUsage
from metrics.sampling.host import merge_host_rows
from programs.hosts import SILENT_AFTER
from programs.models import Host, Program

from .accumulator import Accumulator, MinuteStream
from .tiers import BY_NAME, COARSER, RAW, TIERS, Tier
from .values import HISTOGRAMS, RULES, Values, replace_rows

SLICE_PROGRAMS = 100  # programs

PeriodMark = tuple[int, Tier, int]  # host id, tier, period


@dataclass
class RollupJob:
    """The roll-up of one period. `accumulators` is None if its rows must be read from the database."""

    mark: PeriodMark
    programs: list[int]
    accumulators: dict[int, Accumulator] | None
    done: int = 0


class Rollup:
    """All methods run in the writer thread, inside the journal's transaction."""

    def __init__(self, host_id: int) -> None:
        self._host_id = host_id
        self._open: set[PeriodMark] = set()
        self._is_loaded = False
        self._job: RollupJob | None = None
        self.stream = MinuteStream(0)

    def load(self) -> None:
        """Reads the open periods that an earlier agent left, also those of hosts that lost their heartbeat."""
        if self._is_loaded:
            return
        lost = models.Q(host__heartbeat_at__lt=timezone.now() - SILENT_AFTER)
        marks = OpenPeriod.objects.filter(lost | models.Q(host=self._host_id))
        self._open = {(m.host_id, BY_NAME[m.tier], m.period) for m in marks if m.tier in BY_NAME}
        newest = ResourceUsage.objects.order_by("-period").values_list("period", flat=True).first()
        self.stream = MinuteStream(newest or 0)
        self._is_loaded = True

    def mark(self, tier: Tier, period: int, host_id: int | None = None) -> None:
        mark = (host_id or self._host_id, tier, period)
        if tier in COARSER and mark not in self._open:
            OpenPeriod.objects.get_or_create(host_id=mark[0], tier=tier.name, period=period)
            transaction.on_commit(partial(self._open.add, mark))

    def is_due(self, now: float) -> bool:
        return self._job is not None or any(_is_over(mark, now) for mark in self._open)

    def step(self, now: float) -> None:
        """Rolls up one slice of what is due, the finest tier first. Takes about 10 ms."""
        job = self._job or self._next(now)
        if job is None:
            return
        programs = job.programs[job.done : job.done + SLICE_PROGRAMS]
        self._write(job, programs)
        is_last = job.done + len(programs) >= len(job.programs)
        if is_last:
            _finish(job.mark)
        transaction.on_commit(partial(self._advance, job, len(programs), is_last))

    def _next(self, now: float) -> RollupJob | None:
        due = [mark for mark in self._open if _is_over(mark, now)]
        if not due:
            return None
        host_id, tier, period = mark = min(due, key=lambda mark: (TIERS.index(mark[1]), mark[2]))
        is_own_raw = tier is RAW and host_id == self._host_id
        accumulators = self.stream.take_minute(period) if is_own_raw else None
        programs = _programs_with_rows(mark) if accumulators is None else list(accumulators)
        # Stored at once: if the transaction fails, the stream does not return the minute a second time.
        self._job = RollupJob(mark, programs, accumulators)
        return self._job

    def _write(self, job: RollupJob, programs: list[int]) -> None:
        host_id, tier, period = job.mark
        coarse = COARSER[tier]
        accumulators = _accumulate_rows(tier, period, programs) if job.accumulators is None else job.accumulators
        coarse_period = coarse.period_of(period)
        replace_rows(
            coarse.model,
            [
                accumulators[program].row(coarse_period, program, period)
                for program in programs
                if program in accumulators
            ],
        )
        self.mark(coarse, coarse_period, host_id)

    def _advance(self, job: RollupJob, by: int, is_done: bool) -> None:
        job.done += by
        if is_done:
            self._job = None
            self._open.discard(job.mark)


def _is_over(mark: PeriodMark, now: float) -> bool:
    return mark[2] + mark[1].period_seconds <= now


def _programs_with_rows(mark: PeriodMark) -> list[int]:
    # Programs of other hosts are rolled up by their own agents.
    host_id, tier, period = mark
    theirs = Program.everything.of_host(Host.objects.get(pk=host_id))
    rows = tier.model._default_manager.filter(period=period, program__in=theirs)
    return list(rows.order_by("program_id").values_list("program_id", flat=True).distinct())


def _accumulate_rows(tier: Tier, period: int, programs: list[int]) -> dict[int, Accumulator]:
    columns = [*RULES, *(HISTOGRAMS if tier is not RAW else ())]
    rows = tier.model._default_manager.filter(period=period, program__in=programs).order_by(
        "program_id", "timestamp"
    )
    accumulators: dict[int, Accumulator] = {}
    for program, *values_ in rows.values_list("program_id", *columns):
        accumulator = accumulators.setdefault(program, Accumulator())
        values = Values._make(values_[: len(RULES)])
        if tier is RAW:
            accumulator.add_point(values)
        else:
            accumulator.add_row(values, *values_[len(RULES) :])
    return accumulators


def _finish(mark: PeriodMark) -> None:
    # Host rows are few, so they are rolled up in the last slice, together with the mark.
    host_id, tier, period = mark
    coarse = COARSER[tier]
    rows = HostUsage.objects.filter(
        host=host_id, step=tier.step, timestamp__gte=period, timestamp__lt=period + coarse.seconds
    )
    if row := merge_host_rows(list(rows.order_by("timestamp"))):
        row.step, row.timestamp = coarse.step, period
        row.save()
    OpenPeriod.objects.filter(host=host_id, tier=tier.name, period=period).delete()
