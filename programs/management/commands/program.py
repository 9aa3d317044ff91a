"""`manage.py program …`: all of supervision from a terminal or a script. The subcommands are in `programs.cli`."""

from __future__ import annotations

from programs.cli.command import SubcommandsCommand
from programs.cli.registry import SUBCOMMANDS


class Command(SubcommandsCommand):
    help = "Defines, starts, stops and shows programs. Exit codes: 0 done, 1 failed, 2 usage, 3 not running."
    subcommands = SUBCOMMANDS
