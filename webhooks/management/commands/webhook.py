"""`manage.py webhook …`: endpoints and their deliveries from a terminal or a script; see `webhooks.cli`."""

from __future__ import annotations

from functools import partial

from core.cli.command import SubcommandsCommand
from core.cli.subcommand import Entry

_entry = partial(Entry, "webhooks.cli")

# A new subcommand is a class in a module of `webhooks.cli` and a line here.
SUBCOMMANDS: dict[str, Entry] = {
    "list": _entry("show:List", "all endpoints and how their deliveries do"),
    "show": _entry("show:Show", "one endpoint, with the health of its deliveries"),
    "add": _entry("define:Add", "define an endpoint; its signing secret is printed once"),
    "enable": _entry("define:Enable", "switch an endpoint on again"),
    "disable": _entry("define:Disable", "switch an endpoint off"),
    "rotate": _entry("define:Rotate", "print a new signing secret; the old one signs too for a day"),
    "remove": _entry("define:Remove", "forget an endpoint with its log"),
    "preview": _entry("show:Preview", "what an endpoint would be sent, without sending it"),
    "test": _entry("sending:Test", "send a test and wait for the answer"),
    "deliveries": _entry("show:Deliveries", "what was sent and what came of it, newest first"),
    "redeliver": _entry("sending:Redeliver", "send deliveries again, with the same ids"),
    "recover": _entry("sending:Recover", "send again what failed, or with --missing what was never sent"),
    "mutes": _entry("mutes:Mutes", "who is silent, and until when"),
    "mute": _entry("mutes:Mute", "silence an endpoint, a program or everything for a while"),
    "unmute": _entry("mutes:Unmute", "end a silence"),
}


class Command(SubcommandsCommand):
    help = "Defines, tests and mutes webhooks, and sends again. Exit codes: 0 done, 1 failed, 2 usage."
    subcommands = SUBCOMMANDS
