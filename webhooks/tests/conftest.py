"""Fixtures: a real receiver, tables visible to all threads, and real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webhooks.outbox.writer import NOT_LOADED

from .receiver import Receiver
from .stack import Stack


@pytest.fixture(autouse=True)
def reset_subscriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    # A rolled back test frees keys and revisions for reuse, which would make the cache look up to date.
    monkeypatch.setattr("webhooks.outbox.writer._subscriptions", NOT_LOADED)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver().start()
    yield receiver
    receiver.stop()


@pytest.fixture
def outbox(transactional_db: None, tmp_path: Path, settings: Any) -> None:
    """Committed rows, visible to the worker's database thread, and doorbells of this test only."""
    settings.DATA_DIR = tmp_path
    settings.RUN_DIR = tmp_path / "run"
    tmp_path.chmod(0o700)


@pytest.fixture
def stack(outbox: None, tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    yield stack
    stack.end()
