"""A data folder, users with roles, and an installation to run commands on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from core.access import Role, set_role

from .installation import Installation, made_once, make_template

PASSWORD = "correct horse battery"
People = Callable[..., User]


@pytest.fixture
def data_dir(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    settings.RUN_DIR = tmp_path / "run"
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def person(db: None) -> People:
    """`person("alice", Role.OPERATE)` creates a user with that role or none, without a password (slow)."""

    def make(name: str = "alice", role: Role | None = None, **fields: Any) -> User:
        user = User.objects.create_user(name, **fields)
        if role:
            set_role(user, role)
        return user

    return make


@pytest.fixture
def logged_in(person: People) -> Callable[[Role], Client]:
    """A client logged in as a user with the role."""

    def make(role: Role) -> Client:
        client = Client()
        client.force_login(person(f"{role}-person", role))
        return client

    return make


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "with-alice", make_template)


@pytest.fixture
def installation(migrated: Path, tmp_path: Path) -> Installation:
    """A new data folder with a migrated database and the administrator `alice`."""
    return Installation.copy_of(migrated, tmp_path / "data")
