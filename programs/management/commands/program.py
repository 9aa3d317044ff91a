"""`manage.py program …`: all of supervision from a terminal or a script. The subcommands are in `programs.cli`."""

from __future__ import annotations

from functools import partial

from core.cli.command import SubcommandsCommand
from core.cli.subcommand import Entry

_entry = partial(Entry, "programs.cli")

# A new subcommand is a class in a module of `programs.cli` and a line here.
SUBCOMMANDS: dict[str, Entry] = {
    "list": _entry("overview:List", "all programs and how they are"),
    "status": _entry("overview:Status", "how programs are; exit code 3 when one that is named does not run"),
    "add": _entry("define:Add", "define a program"),
    "start": _entry("verbs:Start", "start programs and wait until they run"),
    "stop": _entry("verbs:Stop", "stop programs, step by step as they define it"),
    "restart": _entry("verbs:Restart", "stop programs and start them again"),
    "kill": _entry("verbs:Kill", "stop programs with SIGKILL, at once and with their whole process tree"),
    "logs": _entry("output:Logs", "what a program printed; --follow for what it prints"),
    "input": _entry("console:Input", "type lines into the console of a program"),
    "scale": _entry("scaling:Scale", "run so many instances of a program"),
    "adopt": _entry("adopting:Adopt", "take over a process that runs already, without a restart"),
    "remove": _entry("removal:Remove", "stop programs and forget them with their logs"),
    "import": _entry(
        "importing:Import", "define programs from a file of Supervisor, PM2, systemd, … or of our own"
    ),
    "export": _entry("exporting:Export", "write definitions as YAML"),
}


class Command(SubcommandsCommand):
    help = "Defines, starts, stops and shows programs. Exit codes: 0 done, 1 failed, 2 usage, 3 not running."
    subcommands = SUBCOMMANDS
