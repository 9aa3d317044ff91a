from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.doctor import Finding, Status, run_checks


class Command(BaseCommand):
    help = "Checks this installation and says how to fix what is wrong. Exits with 1 when a check fails."
    requires_system_checks = []  # their results are findings

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--json",
            action="store_true",
            help='print a list of {"id", "status", "summary", "mend"}; "mend" says how to fix it',
        )

    def handle(self, *args: Any, **options: Any) -> None:
        findings = run_checks()
        if options["json"]:
            self.stdout.write(json.dumps([dataclasses.asdict(f) for f in findings], indent=2, ensure_ascii=False))
        else:
            for finding in findings:
                self.show(finding)
        failed = [finding.id for finding in findings if finding.status is Status.FAIL]
        if failed:
            raise CommandError(f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}")

    def show(self, finding: Finding) -> None:
        style = {Status.OK: self.style.SUCCESS, Status.WARN: self.style.WARNING, Status.FAIL: self.style.ERROR}
        self.stdout.write(f"{style[finding.status](f'{finding.status:<4}')}  {finding.id:<20} {finding.summary}")
        if finding.mend and finding.status is not Status.OK:
            self.stdout.write(f"{'':26} → {finding.mend}")
