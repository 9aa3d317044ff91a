from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core import key_rotation
from core.access import audit, command_actor
from core.key_rotation import RotationCount
from core.locks import HeldError, hold
from core.secrets import SecretUnreadableError

# A process that encrypted with an old key may wait this long for the database before it writes the row.
GRACE_SECONDS = 25.0


class Command(BaseCommand):
    help = "Adds a new key and encrypts every stored secret with it. Safe to interrupt and repeat."

    def add_arguments(self, parser: ArgumentParser) -> None:
        drop_help = "add no key; encrypt every secret with the newest present key, then remove the older keys"
        parser.add_argument("--drop-old", action="store_true", help=drop_help)
        grace_help = "how long --drop-old waits for processes that still use an old key (default: %(default)s)"
        parser.add_argument("--grace", type=float, default=GRACE_SECONDS, metavar="SECONDS", help=grace_help)

    def handle(self, *args: Any, drop_old: bool, grace: float, **options: Any) -> None:
        try:
            with hold("rotate_keys"):
                if drop_old:
                    self.drop_old(max(grace, 0))
                else:
                    self.rotate()
        except (HeldError, SecretUnreadableError, OSError) as error:
            raise CommandError(f"The rotation stopped and lost nothing: {error}") from error

    def rotate(self) -> None:
        held = key_rotation.add_key()
        audit(command_actor(), "keys.rotate", data={"keys_held": held})
        unreadable = self.report_unreadable(key_rotation.re_encrypt_all())
        if unreadable:
            self.stderr.write(f"{unreadable} secrets cannot be decrypted with the present keys: set them again.")

    def drop_old(self, grace: float) -> None:
        # Adds no key: with several hosts, the other hosts have only copies of the present keys.
        if self.report_unreadable(key_rotation.re_encrypt_all()):
            raise CommandError("The old keys were kept, because some secrets cannot be decrypted.")
        self.stderr.write(f"Waiting {grace:g} s for processes that still use an old key.")
        time.sleep(grace)
        if any(count.unreadable for count in key_rotation.re_encrypt_all()):
            raise CommandError("The old keys were kept, because some secrets cannot be decrypted.")
        dropped = key_rotation.keep_newest_key()
        audit(command_actor(), "keys.drop", data={"dropped": dropped})
        self.stderr.write(f"Removed {dropped} old keys. Older backups need their own copy of the keys.")

    def report_unreadable(self, counts: list[RotationCount]) -> int:
        for count in counts:
            self.stderr.write(f"{count.name}: {count.changed} of {count.seen} encrypted with the newest key.")
        return sum(count.unreadable for count in counts)
