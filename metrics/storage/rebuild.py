"""Rebuilds coarser rows over imported ones, so that charts and summaries show them at every step."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from django.db import transaction

from metrics.models import OpenPeriod
from programs.models import Host, Program

from .accumulator import Accumulator
from .history_revision import invalidate_history
from .tiers import COARSER, RAW, TIERS, Tier
from .values import HISTOGRAMS, RULES, Values, replace_rows

SLICE_PLACES = 500  # in one transaction

Place = tuple[int, int]  # period, program id


class TouchedPeriods:
    """The periods of each tier with imported rows."""

    def __init__(self) -> None:
        self._places: dict[Tier, set[Place]] = {tier: set() for tier in TIERS}

    def add(self, tier: Tier, period: int, program: int) -> None:
        self._places[tier].add((period, program))

    def rebuild(self) -> None:
        """Repeating it changes nothing. A coarser row that has more samples than its finer rows stays."""
        now = int(time.time())
        for tier, coarse in COARSER.items():
            over = sorted(place for place in self._places[tier] if place[0] + tier.period_seconds <= now)
            for first in range(0, len(over), SLICE_PLACES):
                with transaction.atomic():
                    invalidate_history()
                    _rebuild(tier, coarse, over[first : first + SLICE_PLACES])
            _mark_open(tier, self._places[tier].difference(over))
            for period, program in over:
                self.add(coarse, coarse.period_of(period), program)


def _mark_open(tier: Tier, places: Collection[Place]) -> None:
    # The agent rolls these up when they are over.
    default = Host.objects.filter(is_default=True).values_list("pk", flat=True).first()
    hosts = dict(Program.everything.filter(pk__in={program for _, program in places}).values_list("pk", "host"))
    for period, program in places:
        if host := hosts.get(program) or default:
            OpenPeriod.objects.get_or_create(host_id=host, tier=tier.name, period=period)


def _rebuild(tier: Tier, coarse: Tier, places: Sequence[Place]) -> None:
    accumulators = _accumulate(tier, places)
    stored = coarse.model._default_manager.filter(
        period__in={coarse.period_of(period) for period, _ in places},
        program__in={program for _, program in places},
        timestamp__in={period for period, _ in places},
    )
    samples = {
        (at, program): count for at, program, count in stored.values_list("timestamp", "program_id", "count")
    }
    rows = [
        accumulator.row(coarse.period_of(period), program, period)
        for (period, program), accumulator in accumulators.items()
        if accumulator.values and accumulator.values.samples > samples.get((period, program), 0)
    ]
    replace_rows(coarse.model, rows)


def _accumulate(tier: Tier, places: Sequence[Place]) -> dict[Place, Accumulator]:
    wanted = set(places)
    columns = [*RULES, *(HISTOGRAMS if tier is not RAW else ())]
    rows = tier.model._default_manager.filter(
        period__in={period for period, _ in places}, program__in={program for _, program in places}
    ).order_by("period", "program_id", "timestamp")
    accumulators: dict[Place, Accumulator] = {}
    for period, program, *columns_ in rows.values_list("period", "program_id", *columns):
        if (period, program) in wanted:
            accumulator = accumulators.setdefault((period, program), Accumulator())
            values = Values._make(columns_[: len(RULES)])
            if tier is RAW:
                accumulator.add_point(values)
            else:
                accumulator.add_row(values, *columns_[len(RULES) :])
    return accumulators
