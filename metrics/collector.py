"""The agent's sampling service: live values of every program, on a clock that does not drift."""

from __future__ import annotations

import asyncio
import time

from django.conf import settings

from programs.supervisor.run import Usage
from programs.supervisor.supervisor import Supervisor

from .sampler import Root, Sampler


class Collector:
    """Samples every SAMPLE_SECONDS and hands the values to the supervisor, which shows and limits them."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._sampler = Sampler()

    async def run(self, stop: asyncio.Event) -> None:
        due = time.monotonic()
        while not stop.is_set():
            await self.tick()
            # Ticks missed while the machine slept are gone; the rhythm stays.
            due = max(due + settings.SAMPLE_SECONDS, time.monotonic())
            try:
                await asyncio.wait_for(stop.wait(), max(0.0, due - time.monotonic()))
            except TimeoutError:
                continue

    async def tick(self) -> None:
        roots = {
            key: Root(run.who.pid, run.who.kernel_start, run.marker)
            for key, run in self._supervisor.runs().items()
        }
        usages = await asyncio.to_thread(self._sampler.sample, roots)
        self._supervisor.observe(
            {key: Usage(usage.cpu_percent, usage.memory_bytes, usage.threads) for key, usage in usages.items()}
        )
