from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core import key_rotation
from core.access import audit, command_actor
from core.locks import HeldError, hold
from core.secrets import SecretUnreadableError

# A writer that encrypted with the old key may wait this long for the database before its row is there.
GRACE_SECONDS = 25.0


class Command(BaseCommand):
    help = "Makes a new key, encrypts every stored secret anew with it. May be stopped anywhere and run again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--drop-old", action="store_true", help="forget the old keys, once nothing needs them")
        grace_help = "how long --drop-old waits for writers that still use the old key (default: %(default)s)"
        parser.add_argument("--grace", type=float, default=GRACE_SECONDS, metavar="SECONDS", help=grace_help)

    def handle(self, *args: Any, drop_old: bool, grace: float, **options: Any) -> None:
        try:
            with hold("rotate_keys"):
                self.rotate(drop_old, max(grace, 0))
        except (HeldError, SecretUnreadableError, OSError) as error:
            raise CommandError(f"Nothing was lost, but the rotation did not end: {error}") from error

    def rotate(self, drop_old: bool, grace: float) -> None:
        count = key_rotation.add_key()
        audit(command_actor(), "keys.rotate", data={"keys_held": count})
        tallies = key_rotation.re_encrypt_all()
        for tally in tallies:
            self.stderr.write(f"{tally.name}: {tally.changed} of {tally.seen} are under the new key.")
        closed = sum(tally.unreadable for tally in tallies)
        if closed:
            self.stderr.write(f"{closed} secrets cannot be opened with any present key: set them again.")
        if drop_old:
            self.drop_old(closed, grace)

    def drop_old(self, closed: int, grace: float) -> None:
        if closed:
            raise CommandError("The old keys stay, since some secrets could not be opened.")
        self.stderr.write(f"Waiting {grace:g} s for writers that still use the old key.")
        time.sleep(grace)
        if any(tally.unreadable for tally in key_rotation.re_encrypt_all()):
            raise CommandError("The old keys stay, since some secrets could not be opened.")
        dropped = key_rotation.keep_newest_key()
        audit(command_actor(), "keys.drop", data={"dropped": dropped})
        self.stderr.write(f"{dropped} old keys are forgotten. Backups made before need their own copy of them.")
