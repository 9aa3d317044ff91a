"""`manage.py alert …`: alert rules from a terminal or a script; see `metrics.alerts.cli`."""

from __future__ import annotations

from metrics.alerts.cli.registry import SUBCOMMANDS
from programs.cli.command import SubcommandsCommand


class Command(SubcommandsCommand):
    help = (
        "Defines alert rules, lists alerts, tries rules against the past. Exit codes: 0 done, 1 failed, 2 usage."
    )
    subcommands = SUBCOMMANDS
