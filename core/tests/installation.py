"""An installation with its own database, to run commands on."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

MAKE = """
from django.contrib.auth.models import User
from django.core.management import call_command
from core.access import Role, set_role
call_command("migrate", verbosity=0)
set_role(User.objects.create_user("alice", password="correct horse battery"), Role.ADMIN)
"""


@dataclass(frozen=True)
class Installation:
    data: Path

    @classmethod
    def copy_of(cls, template: Path, data: Path) -> Installation:
        shutil.copytree(template, data)
        data.chmod(0o700)
        return cls(data)

    @property
    def database(self) -> Path:
        return self.data / "monitor.sqlite3"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        return kept | {"DATA_DIR": str(self.data), "BIND": "127.0.0.1:0", "DATABASE_URL": ""} | more

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *arguments],
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def succeed(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = self.run(*arguments, **environment)
        assert done.returncode == 0, done.stderr
        return done

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.database, timeout=60)) as opened, opened:
            return opened.execute(statement, values).fetchall()

    def users(self) -> list[str]:
        return [name for (name,) in self.sql("SELECT username FROM auth_user ORDER BY username")]

    def add_user(self, name: str) -> None:
        columns = (
            "username, password, is_superuser, first_name, last_name, email, is_staff, is_active, date_joined"
        )
        self.sql(f"INSERT INTO auth_user ({columns}) VALUES (?, '', 0, '', '', '', 0, 1, '2026-11-01')", name)


def make_template(data: Path) -> None:
    made = Installation(data)
    data.chmod(0o700)
    made.succeed("shell", "--verbosity=0", "--command", MAKE)


def made_once(temporary: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first test process creates and all others copy."""
    base = temporary.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, draft = shared / name, shared / f"{name}.draft"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o700)
            make(draft)
            draft.rename(folder)
    return folder
