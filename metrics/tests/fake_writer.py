"""The agent's writer thread, replaced by batches that run when the test calls `drain`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction

from metrics.models import ResourceUsage
from metrics.sampling import TreeUsage
from programs.models import Program


class Writer:
    """`put_batch` as in the journal; `drain` runs everything that is queued."""

    def __init__(self, capture: Any) -> None:
        self.waiting: deque[Callable[[], None]] = deque()
        self._capture = capture

    def put_batch(self, work: Callable[[], None]) -> None:
        if work not in self.waiting:
            self.waiting.append(work)

    def drain(self, most: int = 1000) -> int:
        """Returns the number of transactions. Raises what a batch raises, which then stays queued."""
        done = 0
        while self.waiting and done < most:
            work = self.waiting[0]
            with self._capture(execute=True), transaction.atomic():
                work()
                self.waiting.popleft()
            done += 1
        return done


@pytest.fixture
def writer(db: None, django_capture_on_commit_callbacks: Any) -> Iterator[Writer]:
    yield Writer(django_capture_on_commit_callbacks)


def usage_sample(cpu_percent: float = 50.0, memory: int = 1000, seconds: float = 2.0, **more: Any) -> TreeUsage:
    """A sample of `seconds` at that CPU percentage."""
    return TreeUsage(cpu_percent, memory, 1, round(cpu_percent * seconds * 10), round(seconds * 1000), **more)


def programs(count: int = 1) -> list[int]:
    """Defines programs and returns their ids."""
    return [Program.objects.create(name=f"p{number}", command="sleep 1").pk for number in range(count)]


def points(program: int) -> dict[int, ResourceUsage]:
    return {row.timestamp: row for row in ResourceUsage.objects.filter(program=program)}
