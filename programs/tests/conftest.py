"""Fixtures that start the real thing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .actors import AgentBox


@pytest.fixture
def box(transactional_db: None, tmp_path: Path, settings: Any) -> Iterator[AgentBox]:
    """An agent that is not started yet. Whatever it started is ended after the test."""
    settings.DATA_DIR = tmp_path
    settings.LOG_DIR = tmp_path / "logs"
    settings.RUN_DIR = tmp_path / "run"
    box = AgentBox(tmp_path)
    yield box
    box.clean_up()


@pytest.fixture
def agent(box: AgentBox) -> AgentBox:
    return box.start()
