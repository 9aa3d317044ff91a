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
    help = "Restores a backup and keeps the present data as *.before-restore. Stop the monitor first."
    requires_system_checks = []  # a broken installation is a reason to restore

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            manifest = restore(file)
        except BackupError as error:
            raise CommandError(str(error)) from error
        audit(command_actor(), "backup.restore", str(file.absolute()), data={"made": manifest.created_at})
        self.stderr.write(f"Restored the backup of {manifest.created_at} ({manifest.product} {manifest.version}).")
        if not set(KEY_FILES) & set(manifest.files):
            self.stderr.write("The backup has no keys; the present ones were kept.")
        if unreadable := sum(count.unreadable for count in key_rotation.check_all()):
            self.stderr.write(f"{unreadable} stored secrets cannot be decrypted with these keys: set them again.")
