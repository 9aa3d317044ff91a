"""Runs the probes of one process, each in a task of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from .base import Outcome, Probe, ProbeContext
from .checks import check
from .state import ProbeState

log = structlog.get_logger(__name__)

OnChange = Callable[[str, str, bool], None]

FIRST_WITHIN_SECONDS = 1.0
SPLAY = 0.1
SHORTEST_PAUSE = 0.05


class Prober:
    """Tells `on_change(health, detail, restart)` when the health or readiness changes, or a restart is due.

    The period of each probe varies by a tenth, so that hundreds of them do not fall into step. Failures within
    `grace_seconds` after `start` do not count. Nothing is ever raised into the tasks' loop.
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
        """Ends the tasks; nothing is told any more. Await the result to see them gone, a running command too."""
        for task in self._tasks:
            task.cancel()
        return asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        probe = self._probes[number]
        await asyncio.sleep(_between(0, min(probe.period, FIRST_WITHIN_SECONDS)))
        while True:
            begun = loop.time()
            self._tell(number, await self._outcome(probe))
            period = probe.period * _between(1 - SPLAY, 1 + SPLAY)
            await asyncio.sleep(max(SHORTEST_PAUSE, begun + period - loop.time()))

    async def _outcome(self, probe: Probe) -> Outcome:
        try:
            return await check(probe, self._context)
        except Exception as error:
            log.exception("probe.failed", kind=probe.kind)
            return Outcome(False, f"the probe itself failed: {error}", 0.0)

    def _tell(self, number: int, outcome: Outcome) -> None:
        verdict = self._state.record(number, outcome, asyncio.get_running_loop().time())
        if not (verdict.changed or verdict.restart):
            return
        try:
            self._on_change(verdict.health, verdict.detail, verdict.restart)
        except Exception:
            log.exception("probe.change_not_told")


def _between(low: float, high: float) -> float:
    return random.uniform(low, high)  # noqa: S311  (spreads load; nothing secret)
