from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.access import audit, command_actor
from core.backup import BackupError, create


class Command(BaseCommand):
    help = "Writes the database and the keys to one .tar.gz file. The monitor can keep running."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="for example /backup/monitor.tar.gz")
        keys_help = "leave out the keys, so that the stored secrets cannot be decrypted"
        parser.add_argument("--without-keys", action="store_true", help=keys_help)

    def handle(self, *args: Any, file: Path, without_keys: bool, **options: Any) -> None:
        # Exit by an exception on SIGTERM, so that the temporary files are deleted.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            manifest = create(file, with_keys=not without_keys)
        except BackupError as error:
            raise CommandError(str(error)) from error
        audit(command_actor(), "backup.create", str(file.absolute()), data={"keys": not without_keys})
        size = file.stat().st_size / 1024**2
        self.stderr.write(f"{file}: {', '.join(manifest.files)}; {size:.1f} MB")
        if not without_keys:
            self.stderr.write("Keep this file safe: it contains the keys that decrypt the stored secrets.")
