"""The agent's sampling service: live values of every program, and the points of their history."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

from django.conf import settings

from programs.supervisor.run import Run, Usage
from programs.supervisor.supervisor import Supervisor

from .models import AgentVitals
from .sampling import Key, Root, Sampler
from .sampling.host import HostMeter
from .sampling.ticker import Rhythm
from .storage.bucketing import of_programs, snapped
from .storage.recorder import Recorder
from .storage.tiers import RAW


class Collector:
    """Samples every SAMPLE_SECONDS, shows the values through the supervisor and records them.

    The agent's loop only hands over what runs and what was found; all the work is done in a thread.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._sampler = Sampler()
        self._host = HostMeter()
        self._interval = 0  # that the last sample ended in
        self.recorder = Recorder(supervisor.host.pk, supervisor.journal.put_batch)
        supervisor.journal.put_last(self.recorder.write_held)
        self.rhythm = Rhythm()

    async def run(self, stop: asyncio.Event) -> None:
        self.rhythm.next_at = time.monotonic()
        try:
            while not stop.is_set():
                with self.rhythm.tick():
                    await self.tick()
                await _wait(stop, self.rhythm.next_at - time.monotonic())
        finally:
            self._sampler.close()

    async def tick(self) -> None:
        """One look at all programs."""
        usages = await asyncio.to_thread(self._look, self._supervisor.runs())
        self._supervisor.observe(usages)

    def _look(self, runs: Mapping[Key, Run]) -> dict[Key, Usage]:
        roots = {key: Root(run.identity.pid, run.identity.kernel_start, run.marker) for key, run in runs.items()}
        turns = max(1, round(settings.RECORD_SECONDS / settings.SAMPLE_SECONDS))
        sampled_before = self._sampler.sampled_at.running
        found = self._sampler.sample(roots, with_extras=partial(_has_turn, self.rhythm.ticks % turns, turns))
        sampled_at = self._sampler.sampled_at.running
        end = time.time() - (time.monotonic() - sampled_at)
        start = end - (sampled_at - sampled_before)
        self._end_interval(start, end)
        self.recorder.add(start, end, of_programs(found))
        return {key: Usage(usage.cpu_percent, usage.memory_bytes, usage.threads) for key, usage in found.items()}

    def _end_interval(self, start: float, end: float) -> None:
        """What is recorded once an interval: the host, and how the agent keeps up."""
        interval = RAW.floor(int(snapped(end, start, RAW.width)))
        if interval != self._interval:
            self._interval = interval
            self.recorder.add_host(
                RAW.floor(int(snapped(start, end, RAW.width))), self._host.read(), self._vitals()
            )

    def _vitals(self) -> AgentVitals:
        rhythm, recorder = self.rhythm, self.recorder
        return AgentVitals(
            host_id=self._supervisor.host.pk,
            at=datetime.now(UTC),
            ticks=rhythm.ticks,
            ticks_missed=rhythm.missed,
            tick_lag_seconds=rhythm.lag,
            tick_lag_seconds_max=rhythm.worst_lag,
            tick_seconds=rhythm.duration,
            write_seconds=recorder.write_seconds,
            waiting_points=recorder.waiting_points,
            dropped_points=recorder.dropped_points,
            waiting_entries=self._supervisor.journal.pending,
        )


def _has_turn(turn: int, turns: int, key: Key) -> bool:
    """Open files and bytes are read once an interval, of a part of the programs in each tick."""
    return key[0] % turns == turn


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), max(0.0, seconds))
    except TimeoutError:
        return
