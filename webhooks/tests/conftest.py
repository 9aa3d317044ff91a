"""Fixtures that start the real thing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webhooks.outbox.writer import NOTHING

from .receiver import Receiver
from .stack import Stack


@pytest.fixture(autouse=True)
def forget_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rolled back test leaves keys and revisions to be used again, which committed rows never do."""
    monkeypatch.setattr("webhooks.outbox.writer._compiled", NOTHING)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver().start()
    yield receiver
    receiver.stop()


@pytest.fixture
def outbox(transactional_db: None, tmp_path: Path, settings: Any) -> None:
    """Tables that the sender's own thread sees too, and doorbells of this test alone."""
    settings.DATA_DIR = tmp_path
    settings.RUN_DIR = tmp_path / "run"
    tmp_path.chmod(0o700)


@pytest.fixture
def stack(outbox: None, tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    yield stack
    stack.end()
