"""`manage.py prepare`: checks the settings, migrates, and creates the first administrator or a set-up link.

`serve` runs it in its own process, because it needs every app loaded and `serve` stays small.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.checks.registry import registry
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from monitor_site import first_admin
from monitor_site.serving.preparation import PrepareReport

OUR_APPS = {"core", "programs", "metrics", "plugins", "webhooks", "monitor_site"}


class Command(BaseCommand):
    help = "Migrates the database and creates the first administrator, or a link to create one."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_bad_settings()
        report = PrepareReport()
        try:
            report.migrations = self._migrate()
            self._ensure_administrator(report)
        except (DatabaseError, OSError) as error:
            raise CommandError(f"Cannot prepare the database: {error}") from error
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report)))
        else:
            self._print(report)

    def _migrate(self) -> int:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if plan:
            self.stderr.write(f"Migrating the database ({len(plan)} migrations) …")
            call_command("migrate", interactive=False, verbosity=0, stdout=sys.stderr)
        call_command("createcachetable", verbosity=0)
        return len(plan)

    def _ensure_administrator(self, report: PrepareReport) -> None:
        if first_admin.administrator_exists():
            first_admin.delete_link()
            return
        report.administrator = "missing"
        try:
            warnings = first_admin.create_from_environment(os.environ)
        except first_admin.EnvironmentAccountError as error:
            warnings = None
            report.warnings.append(str(error))
        if warnings is None:
            report.setup_path = f"/setup/{first_admin.create_link(timezone.now())}/"
        else:
            report.administrator = "created"
            report.warnings += [f"DJANGO_SUPERUSER_* was accepted, although: {text}" for text in warnings]

    def _print(self, report: PrepareReport) -> None:
        self.stdout.write(f"{report.migrations} migrations applied; administrator: {report.administrator}.")
        if report.setup_path:
            self.stdout.write(
                f"Create the first administrator at {report.setup_path} (works once, for 30 minutes)."
            )
        for warning in report.warnings:
            self.stderr.write(warning)


def refuse_bad_settings() -> None:
    """Runs the system checks of our apps. Raises CommandError with every mistake found."""
    # Django's own checks are about the code: `make check` runs them, and here they would take a third of the
    # start.
    ours = [check for check in registry.get_checks() if check.__module__.partition(".")[0] in OUR_APPS]
    found = [
        message for check in ours for message in check(app_configs=None, databases=None) if message.is_serious()
    ]
    if found:
        raise CommandError("\n".join(f"{m.msg} {m.hint or ''} ({m.id})".replace("  ", " ") for m in found))
