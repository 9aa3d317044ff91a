"""Fixtures that start the real thing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from programs import status
from programs.supervisor import launch

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


@pytest.fixture
def launching(tmp_path: Path, settings: Any) -> Iterator[None]:
    """For processes that a test starts without an agent: folders, and a mark of their own."""
    settings.DATA_DIR = tmp_path
    settings.LOG_DIR = tmp_path / "logs"
    settings.RUN_DIR = tmp_path / "run"
    launch.installation.cache_clear()
    yield
    launch.installation.cache_clear()


@pytest.fixture
def full_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in which no file can be made: a full file system as root, a forbidden folder otherwise."""
    folder = tmp_path / "full"
    folder.mkdir()
    if os.geteuid():
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k,nr_inodes=1", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(autouse=True)
def fresh_status_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a database of its own, in which revisions start from 0."""
    monkeypatch.setattr(status, "_latest_report", None)
