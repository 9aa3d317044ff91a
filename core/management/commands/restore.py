from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core import key_rotation
from core.access import audit, command_actor
from core.backup import BackupError, restore
from core.backup.archive import KEY_FILES


class Command(BaseCommand):
    help = "Puts a backup back; what was there stays beside it as *.before-restore. Stop the monitor first."
    requires_system_checks = []  # a broken installation is a reason to restore

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            manifest = restore(file)
        except BackupError as error:
            raise CommandError(str(error)) from error
        audit(command_actor(), "backup.restore", str(file.absolute()), data={"made": manifest.created_at})
        self.stderr.write(f"Restored what {manifest.product} {manifest.version} held at {manifest.created_at}.")
        if not set(KEY_FILES) & set(manifest.files):
            self.stderr.write("The backup holds no keys; the present ones stay.")
        if closed := sum(tally.unreadable for tally in key_rotation.check_all()):
            self.stderr.write(f"{closed} stored secrets cannot be opened with these keys: set them again.")
