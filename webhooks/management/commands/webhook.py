"""`manage.py webhook …`: endpoints and their deliveries from a terminal or a script; see `webhooks.cli`."""

from __future__ import annotations

from programs.cli.command import SubcommandsCommand
from webhooks.cli.registry import SUBCOMMANDS


class Command(SubcommandsCommand):
    help = "Defines, tests and mutes webhooks, and sends again. Exit codes: 0 done, 1 failed, 2 usage."
    subcommands = SUBCOMMANDS
