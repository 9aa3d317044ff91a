"""`manage.py alert …`: alert rules from a terminal or a script; see `metrics.alerts.cli`."""

from __future__ import annotations

from functools import partial

from core.cli.command import SubcommandsCommand
from core.cli.subcommand import Entry

_entry = partial(Entry, "metrics.alerts")

# A new subcommand is a class in `metrics.alerts.cli` and a line here.
SUBCOMMANDS: dict[str, Entry] = {
    "list": _entry("cli:List", "all rules, and how many of their alerts last"),
    "firing": _entry("cli:Firing", "the alerts that last, or with --all the newest ones"),
    "add": _entry("cli:Add", "define a rule"),
    "enable": _entry("cli:Enable", "switch a rule on"),
    "disable": _entry("cli:Disable", "switch a rule off; alerts that last are ended"),
    "remove": _entry("cli:Remove", "forget a rule; its alerts stay"),
    "backtest": _entry("cli:Backtest", "when a rule would have fired in the last hours"),
}


class Command(SubcommandsCommand):
    help = (
        "Defines alert rules, lists alerts, tries rules against the past. Exit codes: 0 done, 1 failed, 2 usage."
    )
    subcommands = SUBCOMMANDS
