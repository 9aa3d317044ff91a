"""When the agent looks: once for each interval, whatever went wrong the last time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError

from metrics.alerts.service import Watch
from programs.models import Host


class Watcher(Watch):
    """Its recorder says what `recorded` holds; each look is noted, and goes wrong as `faults` say."""

    def __init__(self) -> None:
        super().__init__(Host(pk=1), lambda work: None, lambda: self.recorded)
        self.recorded = 100
        self.looks: list[int] = []
        self.faults: list[Exception] = []

    def look(self, end: int) -> None:
        self.looks.append(end)
        if self.faults:
            raise self.faults.pop(0)


@pytest.fixture
def watcher(settings: Any) -> Watcher:
    settings.SAMPLE_SECONDS = 0.005
    return Watcher()


async def running(watcher: Watcher, until: Callable[[], bool]) -> None:
    stop = asyncio.Event()
    service = asyncio.create_task(watcher.run(stop))
    async with asyncio.timeout(30):
        while not until():
            await asyncio.sleep(0.005)
    stop.set()
    await service


async def test_it_looks_once_at_each_interval(watcher: Watcher) -> None:
    await running(watcher, lambda: bool(watcher.looks))
    watcher.recorded = 110
    await running(watcher, lambda: len(watcher.looks) > 1)
    await asyncio.sleep(0.03)
    assert watcher.looks == [100, 110]


async def test_without_a_database_it_tries_again(watcher: Watcher) -> None:
    watcher.faults = [OperationalError("locked"), InterfaceError("connection closed")]
    await running(watcher, lambda: len(watcher.looks) == 3)
    assert watcher.looks == [100, 100, 100]


async def test_a_fault_of_ours_does_not_end_it(watcher: Watcher) -> None:
    watcher.faults = [ValueError("boom")]
    await running(watcher, lambda: bool(watcher.looks))
    watcher.recorded = 110
    await running(watcher, lambda: len(watcher.looks) == 2)
    assert watcher.looks == [100, 110]


async def test_a_clock_that_was_set_back_does_not_stop_it(watcher: Watcher) -> None:
    await running(watcher, lambda: bool(watcher.looks))
    watcher.recorded = 40
    await running(watcher, lambda: len(watcher.looks) == 2)
    assert watcher.looks == [100, 40]
