"""The agent's sampling service: publishes live values of every program and records their history."""

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
from .sampling import InstanceKey, RootProcess, Sampler
from .sampling.host import HostMeter
from .sampling.ticker import SamplingTicker
from .storage.bucketing import snap_to_grid, sum_by_program
from .storage.recorder import Recorder
from .storage.tiers import RAW


class Collector:
    """Samples every SAMPLE_SECONDS, passes the values to the supervisor and records them.

    Sampling and recording run in a thread, so that they never block the agent's event loop.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._sampler = Sampler()
        self._host = HostMeter()
        self._interval = 0  # in which the last sample ended
        self.recorder = Recorder(supervisor.host.pk, supervisor.journal.put_batch)
        supervisor.journal.put_last(self.recorder.flush)
        self.ticker = SamplingTicker()

    async def run(self, stop: asyncio.Event) -> None:
        self.ticker.next_at = time.monotonic()
        try:
            while not stop.is_set():
                with self.ticker.tick():
                    await self.tick()
                await _wait(stop, self.ticker.next_at - time.monotonic())
        finally:
            self._sampler.close()

    async def tick(self) -> None:
        usages = await asyncio.to_thread(self._sample, self._supervisor.runs())
        self._supervisor.observe(usages)

    def _sample(self, runs: Mapping[InstanceKey, Run]) -> dict[InstanceKey, Usage]:
        roots = {
            key: RootProcess(run.identity.pid, run.identity.kernel_start, run.marker) for key, run in runs.items()
        }
        slots = max(1, round(settings.RECORD_SECONDS / settings.SAMPLE_SECONDS))
        sampled_before = self._sampler.sampled_at.running
        usages = self._sampler.sample(roots, with_extras=partial(_is_in_slot, self.ticker.ticks % slots, slots))
        sampled_at = self._sampler.sampled_at.running
        # Durations come from the monotonic clock, so a change of the system clock only shifts the sample.
        end = time.time() - (time.monotonic() - sampled_at)
        start = end - (sampled_at - sampled_before)
        self._end_interval(start, end)
        self.recorder.add(start, end, sum_by_program(usages))
        return {key: Usage(usage.cpu_percent, usage.memory_bytes, usage.threads) for key, usage in usages.items()}

    def _end_interval(self, start: float, end: float) -> None:
        interval = RAW.floor(int(snap_to_grid(end, start, RAW.width)))
        if interval != self._interval:
            self._interval = interval
            self.recorder.add_host(
                RAW.floor(int(snap_to_grid(start, end, RAW.width))), self._host.read(), self._vitals()
            )

    def _vitals(self) -> AgentVitals:
        ticker, recorder = self.ticker, self.recorder
        return AgentVitals(
            host_id=self._supervisor.host.pk,
            at=datetime.now(UTC),
            ticks=ticker.ticks,
            ticks_missed=ticker.missed,
            tick_lag_seconds=ticker.lag,
            tick_lag_seconds_max=ticker.worst_lag,
            tick_seconds=ticker.duration,
            write_seconds=recorder.write_seconds,
            waiting_points=recorder.waiting_points,
            dropped_points=recorder.dropped_points,
            waiting_entries=self._supervisor.journal.pending,
        )


def _is_in_slot(slot: int, slots: int, key: InstanceKey) -> bool:
    # Once per interval, with the programs spread evenly over its ticks.
    return key[0] % slots == slot


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), max(0.0, seconds))
    except TimeoutError:
        return
