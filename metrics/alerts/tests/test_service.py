"""The alert service evaluates each interval once, also after errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError

from metrics.alerts.service import AlertService
from programs.models import Host


class RecordingService(AlertService):
    """Records evaluations instead of doing them, and raises `errors` one by one."""

    def __init__(self) -> None:
        super().__init__(Host(pk=1), lambda work: None, lambda: self.recorded_until)
        self.recorded_until = 100
        self.evaluated: list[int] = []
        self.errors: list[Exception] = []

    def evaluate(self, end: int) -> None:
        self.evaluated.append(end)
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def service(settings: Any) -> RecordingService:
    settings.SAMPLE_SECONDS = 0.005
    return RecordingService()


async def run_until(service: RecordingService, until: Callable[[], bool]) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    async with asyncio.timeout(30):
        while not until():
            await asyncio.sleep(0.005)
    stop.set()
    await task


async def test_each_interval_is_evaluated_once(service: RecordingService) -> None:
    await run_until(service, lambda: bool(service.evaluated))
    service.recorded_until = 110
    await run_until(service, lambda: len(service.evaluated) > 1)
    await asyncio.sleep(0.03)
    assert service.evaluated == [100, 110]


async def test_a_database_outage_is_retried(service: RecordingService) -> None:
    service.errors = [OperationalError("locked"), InterfaceError("connection closed")]
    await run_until(service, lambda: len(service.evaluated) == 3)
    assert service.evaluated == [100, 100, 100]


async def test_an_unexpected_error_does_not_stop_the_service(service: RecordingService) -> None:
    service.errors = [ValueError("boom")]
    await run_until(service, lambda: bool(service.evaluated))
    service.recorded_until = 110
    await run_until(service, lambda: len(service.evaluated) == 2)
    assert service.evaluated == [100, 110]


async def test_a_clock_set_back_does_not_stop_the_service(service: RecordingService) -> None:
    await run_until(service, lambda: bool(service.evaluated))
    service.recorded_until = 40
    await run_until(service, lambda: len(service.evaluated) == 2)
    assert service.evaluated == [100, 40]
