"""`manage.py webhook …`: manages endpoints and deliveries; the subcommands are in `webhooks.cli`."""

from __future__ import annotations

from functools import partial

from core.cli.command import SubcommandsCommand
from core.cli.subcommand import Entry

_entry = partial(Entry, "webhooks.cli")

# To add a subcommand, write a class in a module of `webhooks.cli` and add a line here.
SUBCOMMANDS: dict[str, Entry] = {
    "list": _entry("show:List", "list endpoints with their delivery health"),
    "show": _entry("show:Show", "show an endpoint with its delivery health"),
    "add": _entry("define:Add", "add an endpoint; prints its signing secret once"),
    "enable": _entry("define:Enable", "enable an endpoint"),
    "disable": _entry("define:Disable", "disable an endpoint"),
    "rotate": _entry("define:Rotate", "create a new signing secret; the old one stays valid for 24 hours"),
    "remove": _entry("define:Remove", "remove an endpoint and its deliveries"),
    "preview": _entry("show:Preview", "show the request for an event without sending it"),
    "test": _entry("sending:Test", "send a test event and wait for the response"),
    "deliveries": _entry("show:Deliveries", "list deliveries with their results, newest first"),
    "redeliver": _entry("sending:Redeliver", "send deliveries again with the same ids"),
    "recover": _entry(
        "sending:Recover", "send failed deliveries again, or with --missing events that were never sent"
    ),
    "mutes": _entry("mutes:Mutes", "list mutes"),
    "mute": _entry("mutes:Mute", "mute an endpoint, a program or everything"),
    "unmute": _entry("mutes:Unmute", "remove a mute"),
}


class Command(SubcommandsCommand):
    help = "Manages webhook endpoints, deliveries and mutes. Exit codes: 0 done, 1 failed, 2 usage."
    subcommands = SUBCOMMANDS
