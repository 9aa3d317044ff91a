"""The agent's sampling service: live values of every program, on a clock that does not drift."""

from __future__ import annotations

import asyncio
import time

from django.conf import settings

from programs.supervisor.run import Usage
from programs.supervisor.supervisor import Supervisor

from .sampler import Sampler, read_all


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
        roots = self._supervisor.running_pids()
        samples = await asyncio.to_thread(read_all)
        usages = self._sampler.usage(samples, roots, time.monotonic())
        self._supervisor.observe({key: Usage(*usage) for key, usage in usages.items()})
