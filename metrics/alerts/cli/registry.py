"""The subcommands by name. A new one is a class in a module here and a line in this table."""

from __future__ import annotations

from functools import partial

from programs.cli.registry import Entry

_entry = partial(Entry, package=__package__)

SUBCOMMANDS: dict[str, Entry] = {
    "list": _entry("overview:List", "all rules, and how many of their alerts last"),
    "firing": _entry("overview:Firing", "the alerts that last, or with --all the newest ones"),
    "add": _entry("define:Add", "define a rule"),
    "enable": _entry("define:Enable", "switch a rule on"),
    "disable": _entry("define:Disable", "switch a rule off; alerts that last are ended"),
    "remove": _entry("define:Remove", "forget a rule; its alerts stay"),
    "backtest": _entry("overview:Backtest", "when a rule would have fired in the last hours"),
}
