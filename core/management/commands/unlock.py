from __future__ import annotations

import ipaddress
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.access import audit, command_actor
from core.access.login import unlock


class Command(BaseCommand):
    help = "Ends the block of log-ins after too many failures: of one user name, or of all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", nargs="?", help="unlock only this user name (default: all)")
        address_help = "also unlock it at this address, if the audit trail does not have it"
        parser.add_argument("--address", help=address_help)

    def handle(self, *args: Any, username: str | None, address: str | None, **options: Any) -> None:
        if address and not username:
            raise CommandError("--address needs a user name.")
        try:
            normal = str(ipaddress.ip_address(address)) if address else None
        except ValueError as error:
            raise CommandError(f"{address} is not an IP address.") from error
        ended = unlock(username, normal)
        audit(command_actor(), "login.unlock", username or "", data={"ended": ended})
        self.stderr.write(f"Ended {ended} {'block' if ended == 1 else 'blocks'}.")
