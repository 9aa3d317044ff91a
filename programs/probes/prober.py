"""Runs the probes of one process, one task per probe."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from .base import Probe, ProbeContext, ProbeResult
from .checks import check
from .state import ProbeState

log = structlog.get_logger(__name__)

OnChange = Callable[[str, str, bool], None]

FIRST_PROBE_SECONDS = 1.0
JITTER = 0.1
MIN_PAUSE_SECONDS = 0.05


class Prober:
    """Calls `on_change(health, detail, restart)` when health or readiness changes or a restart is due.

    Ignores failures within `grace_seconds` after `start`.
    """

    def __init__(
        self, probes: Sequence[Probe], context: ProbeContext, on_change: OnChange, *, grace_seconds: float = 0.0
    ) -> None:
        self._probes = list(probes)
        self._context = context
        self._on_change = on_change
        self._grace_seconds = grace_seconds
        self._state = ProbeState(probes)
        self._tasks: list[asyncio.Task[None]] = []
        context.wanted_texts.update(probe.target for probe in probes if probe.kind == "log")

    @property
    def health(self) -> str:
        return self._state.health

    @property
    def ready(self) -> bool:
        return self._state.ready

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._state = ProbeState(self._probes, grace_until=loop.time() + self._grace_seconds)
        self._tasks = [loop.create_task(self._run(number)) for number in range(len(self._probes))]

    def stop(self) -> asyncio.Future[list[Any]]:
        """Cancels the tasks; `on_change` is not called again. Await the result to wait for running commands."""
        for task in self._tasks:
            task.cancel()
        return asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        probe = self._probes[number]
        await asyncio.sleep(_uniform(0, min(probe.period, FIRST_PROBE_SECONDS)))
        while True:
            started = loop.time()
            self._report(number, await self._check(probe))
            # Jitter, so that hundreds of probes do not run in the same instant.
            period = probe.period * _uniform(1 - JITTER, 1 + JITTER)
            await asyncio.sleep(max(MIN_PAUSE_SECONDS, started + period - loop.time()))

    async def _check(self, probe: Probe) -> ProbeResult:
        try:
            return await check(probe, self._context)
        except Exception as error:
            log.exception("probe.failed", kind=probe.kind)
            return ProbeResult(False, f"internal error of the probe: {error}", 0.0)

    def _report(self, number: int, result: ProbeResult) -> None:
        update = self._state.record(number, result, asyncio.get_running_loop().time())
        if not (update.changed or update.restart):
            return
        try:
            self._on_change(update.health, update.detail, update.restart)
        except Exception:
            log.exception("probe.report_failed")


def _uniform(low: float, high: float) -> float:
    return random.uniform(low, high)  # noqa: S311  (not for cryptography)
