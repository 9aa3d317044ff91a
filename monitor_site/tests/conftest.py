"""Installations for tests that run the monitor's processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.tests.installation import made_once

from .installation import Installation


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without an administrator, which tests copy."""
    return Installation(made_once(tmp_path_factory, "prepared", prepare)).database


def prepare(folder: Path) -> None:
    Installation(folder).run("prepare").check_returncode()


@pytest.fixture
def empty_installation(tmp_path: Path) -> Iterator[Installation]:
    """An empty data folder; kills its processes afterwards."""
    installation = Installation(tmp_path / "data")
    yield installation
    installation.end_processes()


@pytest.fixture
def installation(empty_installation: Installation, migrated_database: Path) -> Installation:
    """A data folder with a migrated database."""
    shutil.copy(migrated_database, empty_installation.database)
    return empty_installation
