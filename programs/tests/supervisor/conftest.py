from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from .world import World


@pytest.fixture
def log_lines() -> Iterator[list[EventDict]]:
    """What the agent logs; rendering it would take longer than everything else in memory."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def world(log_lines: list[EventDict]) -> Iterator[World]:
    """A host in memory with its agent. In the end rows and machine must agree, and no task may be left."""
    world = World()
    world.start_agent()
    yield world
    if world.supervisor is None:
        world.start_agent()
    world.check()
    world.stop_agent()
