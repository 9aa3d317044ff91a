"""`manage.py prepare`: whatever must be true before the parts start. `serve` runs it in a process of its own,
because it needs every app loaded and `serve` stays small."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from dataclasses import asdict, dataclass, field
from typing import Any

from django.core.checks.registry import registry
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from monitor_site import first_admin

OUR_APPS = {"core", "programs", "metrics", "plugins", "webhooks", "monitor_site"}


@dataclass
class Report:
    """`setup_path` is the one-time link's path, while there is no administrator."""

    migrations: int = 0
    administrator: str = "exists"  # or "created", "missing"
    setup_path: str = ""
    warnings: list[str] = field(default_factory=list)


class Command(BaseCommand):
    help = "Brings the database up to date and makes the first administrator or a link for making one."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_bad_settings()
        report = Report()
        try:
            report.migrations = self._migrate()
            self._ensure_administrator(report)
        except (DatabaseError, OSError) as error:
            raise CommandError(f"The database could not be prepared: {error}") from error
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report)))
        else:
            self._tell(report)

    def _migrate(self) -> int:
        """Applies what is missing; returns how many migrations that were."""
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if plan:
            self.stderr.write(f"Bringing the database up to date ({len(plan)} steps) …")
            call_command("migrate", interactive=False, verbosity=0, stdout=sys.stderr)
        call_command("createcachetable", verbosity=0)
        return len(plan)

    def _ensure_administrator(self, report: Report) -> None:
        if first_admin.administrator_exists():
            first_admin.drop_link()
            return
        report.administrator = "missing"
        try:
            objections = first_admin.create_from_environment(os.environ)
        except first_admin.EnvironmentAccountError as error:
            objections = None
            report.warnings.append(str(error))
        if objections is None:
            report.setup_path = f"/setup/{first_admin.issue_link(timezone.now())}/"
        else:
            report.administrator = "created"
            report.warnings += [f"accepted, but DJANGO_SUPERUSER_*: {text}" for text in objections]

    def _tell(self, report: Report) -> None:
        self.stdout.write(f"{report.migrations} migrations applied; administrator: {report.administrator}.")
        if report.setup_path:
            self.stdout.write(f"Make the first administrator at {report.setup_path} (valid 30 minutes, once).")
        for warning in report.warnings:
            self.stderr.write(warning)


def refuse_bad_settings() -> None:
    """Runs our own system checks: they are about what people set. Raises CommandError with every mistake found.

    Django's are about the code; `make check` runs those, and here they would cost a third of the start.
    """
    ours = [check for check in registry.get_checks() if check.__module__.partition(".")[0] in OUR_APPS]
    found = [
        message for check in ours for message in check(app_configs=None, databases=None) if message.is_serious()
    ]
    if found:
        raise CommandError("\n".join(f"{m.msg} {m.hint or ''} ({m.id})".replace("  ", " ") for m in found))
