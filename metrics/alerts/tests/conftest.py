from __future__ import annotations

import pytest

from metrics.tests.fake_writer import Writer, writer
from programs.tests.conftest import agent, box

from .factories import FakeAgent

__all__ = ["agent", "box", "fake_agent", "writer"]


@pytest.fixture
def fake_agent(writer: Writer) -> FakeAgent:
    return FakeAgent(writer)
