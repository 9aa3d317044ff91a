"""From fine to coarse: when a period is over, its rows become one row of the next tier.

The work is marked in the database as long as it is not done, and doing it twice changes nothing, so it survives
the agent at any point. It is cut into slices, each a short transaction in the agent's writer thread.
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

SLICE = 100  # programs

Mark = tuple[int, Tier, int]  # host id, tier, period


@dataclass
class Job:
    """One period on its way up. `stretches` is what its rows come to, where that is known without reading them."""

    mark: Mark
    programs: list[int]
    stretches: dict[int, Accumulator] | None
    done: int = 0


class Rollup:
    """Everything here runs in the writer thread, inside the transaction that the journal makes."""

    def __init__(self, host_id: int) -> None:
        self._host_id = host_id
        self._open: set[Mark] = set()
        self._is_loaded = False
        self._job: Job | None = None
        self.stream = MinuteStream(0)

    def load(self) -> None:
        """Reads once what an earlier agent left to do, also one of a host that is silent."""
        if self._is_loaded:
            return
        silent = models.Q(host__heartbeat_at__lt=timezone.now() - SILENT_AFTER)
        marks = OpenPeriod.objects.filter(silent | models.Q(host=self._host_id))
        self._open = {(m.host_id, BY_NAME[m.tier], m.period) for m in marks if m.tier in BY_NAME}
        newest = ResourceUsage.objects.order_by("-period").values_list("period", flat=True).first()
        self.stream = MinuteStream(newest or 0)
        self._is_loaded = True

    def mark(self, tier: Tier, period: int, host_id: int | None = None) -> None:
        """Notes, with the rows that are being written, that the period has to go up when it is over."""
        mark = (host_id or self._host_id, tier, period)
        if tier in COARSER and mark not in self._open:
            OpenPeriod.objects.get_or_create(host_id=mark[0], tier=tier.name, period=period)
            transaction.on_commit(partial(self._open.add, mark))

    def is_due(self, now: float) -> bool:
        return self._job is not None or any(_is_over(mark, now) for mark in self._open)

    def step(self, now: float) -> None:
        """One slice of what is due, the finest tier first. Costs some 10 ms."""
        job = self._job or self._next(now)
        if job is None:
            return
        programs = job.programs[job.done : job.done + SLICE]
        self._write(job, programs)
        is_last = job.done + len(programs) >= len(job.programs)
        if is_last:
            _finish(job.mark)
        transaction.on_commit(partial(self._advance, job, len(programs), is_last))

    def _next(self, now: float) -> Job | None:
        due = [mark for mark in self._open if _is_over(mark, now)]
        if not due:
            return None
        host_id, tier, period = mark = min(due, key=lambda mark: (TIERS.index(mark[1]), mark[2]))
        is_ours = tier is RAW and host_id == self._host_id
        stretches = self.stream.take(period) if is_ours else None
        programs = _programs(mark) if stretches is None else list(stretches)
        # Kept at once: the stream does not give it out a second time, should the transaction fail.
        self._job = Job(mark, programs, stretches)
        return self._job

    def _write(self, job: Job, programs: list[int]) -> None:
        host_id, tier, period = job.mark
        coarse = COARSER[tier]
        found = _read(tier, period, programs) if job.stretches is None else job.stretches
        above = coarse.period_of(period)
        replace_rows(
            coarse.model, [found[program].row(above, program, period) for program in programs if program in found]
        )
        self.mark(coarse, above, host_id)

    def _advance(self, job: Job, by: int, is_done: bool) -> None:
        job.done += by
        if is_done:
            self._job = None
            self._open.discard(job.mark)


def _is_over(mark: Mark, now: float) -> bool:
    return mark[2] + mark[1].period_seconds <= now


def _programs(mark: Mark) -> list[int]:
    """The programs of the host that have rows in the period. Others have an agent of their own to do it."""
    host_id, tier, period = mark
    theirs = Program.everything.of_host(Host.objects.get(pk=host_id))
    rows = tier.model._default_manager.filter(period=period, program__in=theirs)
    return list(rows.order_by("program_id").values_list("program_id", flat=True).distinct())


def _read(tier: Tier, period: int, programs: list[int]) -> dict[int, Accumulator]:
    columns = [*RULES, *(HISTOGRAMS if tier is not RAW else ())]
    rows = tier.model._default_manager.filter(period=period, program__in=programs).order_by(
        "program_id", "timestamp"
    )
    found: dict[int, Accumulator] = {}
    for program, *columns_ in rows.values_list("program_id", *columns):
        stretch = found.setdefault(program, Accumulator())
        values = Values._make(columns_[: len(RULES)])
        if tier is RAW:
            stretch.add_point(values)
        else:
            stretch.add_row(values, *columns_[len(RULES) :])
    return found


def _finish(mark: Mark) -> None:
    host_id, tier, period = mark
    coarse = COARSER[tier]
    rows = HostUsage.objects.filter(
        host=host_id, step=tier.step, timestamp__gte=period, timestamp__lt=period + coarse.seconds
    )
    if row := merge_host_rows(list(rows.order_by("timestamp"))):
        row.step, row.timestamp = coarse.step, period
        row.save()
    OpenPeriod.objects.filter(host=host_id, tier=tier.name, period=period).delete()
