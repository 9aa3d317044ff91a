"""`manage.py copy_database`: moves an installation from SQLite to PostgreSQL, or back."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from core.access.audit import command_actor
from core.backup import BackupError, copy_database
from monitor_site.environment import database_from_url
from monitor_site.settings import database

VARIABLE = "TARGET_DATABASE_URL"
NEXT = """
Next, on this host:
  1. Set DATABASE_URL to the address of the target (in the environment or in .env).
  2. Start it again: manage.py serve
The keys in DATA_DIR stay as they are and decrypt the stored secrets. Further hosts need the same DATABASE_URL,
a REDIS_URL and a copy of secrets.key: see docs/running.md. The source was not changed; remove it when all is well.
"""


class Command(BaseCommand):
    help = "Copies everything into an empty database of another kind. Stop the monitor first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        about = (
            f"such as postgres://user:password@host/monitor; else taken from {VARIABLE}, which hides the password"
        )
        parser.add_argument(
            "url", nargs="?", default=os.environ.get(VARIABLE, ""), metavar="TARGET_URL", help=about
        )

    def handle(self, *args: Any, url: str, **options: Any) -> None:
        if not url:
            raise CommandError(f"Give the address of the target, or set {VARIABLE}.")
        try:
            config = database(database_from_url("TARGET_URL", url))
            _make_private(config)
            copied = copy_database(config, url, actor=command_actor(), report=self._report)
        except (BackupError, ImproperlyConfigured, OSError) as error:
            raise CommandError(str(error)) from error
        for table, count in copied.changed.items():
            self.stderr.write(f"{table}: {count} values had NUL characters or were too long; those were cut off.")
        self.stderr.write(f"Copied {copied.rows} rows of {copied.tables} tables; the counts agree.{NEXT}")

    def _report(self, table: str, rows: int) -> None:
        if rows:
            self.stderr.write(f"{table}: {rows}")


def _make_private(config: dict[str, Any]) -> None:
    """SQLite would make the file with the umask's mode."""
    if config["ENGINE"] == "django.db.backends.sqlite3":
        Path(config["NAME"]).touch(mode=0o600)
