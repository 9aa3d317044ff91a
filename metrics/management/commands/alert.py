"""`manage.py alert …`: alert rules, alerts and backtests. The subcommands are in `metrics.alerts.cli`."""

from __future__ import annotations

from functools import partial

from core.cli.command import SubcommandsCommand
from core.cli.subcommand import Entry

_entry = partial(Entry, "metrics.alerts")

# A new subcommand is a class in `metrics.alerts.cli` and a line here.
SUBCOMMANDS: dict[str, Entry] = {
    "list": _entry("cli:ListRules", "list all rules and how many of their alerts are firing"),
    "firing": _entry("cli:ListAlerts", "list firing alerts, or with --all also resolved ones"),
    "add": _entry("cli:AddRule", "create a rule"),
    "enable": _entry("cli:EnableRule", "enable a rule"),
    "disable": _entry("cli:DisableRule", "disable a rule; its firing alerts are resolved"),
    "remove": _entry("cli:RemoveRule", "remove a rule; its alerts are kept"),
    "backtest": _entry("cli:BacktestRule", "show when a rule would have fired in the last hours"),
}


class Command(SubcommandsCommand):
    help = "Manages alert rules, lists alerts, and backtests rules. Exit codes: 0 done, 1 failed, 2 usage."
    subcommands = SUBCOMMANDS
