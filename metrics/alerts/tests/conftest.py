from __future__ import annotations

import pytest

from metrics.tests.writing import Writer, writer
from programs.tests.conftest import agent, box

from .rig import Agent

__all__ = ["agent", "box", "looking", "writer"]


@pytest.fixture
def looking(writer: Writer) -> Agent:
    return Agent(writer)
