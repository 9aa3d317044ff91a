"""`manage.py program …`: all of supervision from a terminal or a script. The subcommands are in `programs.cli`."""

from __future__ import annotations

from functools import partial

from core.cli.command import SubcommandsCommand
from core.cli.subcommand import Entry

_entry = partial(Entry, "programs.cli")

# A new subcommand is a class in a module of `programs.cli` and a line here.
SUBCOMMANDS: dict[str, Entry] = {
    "list": _entry("status:List", "all programs and how they are"),
    "status": _entry("status:Status", "how programs are; exit code 3 when one that is named does not run"),
    "add": _entry("add:Add", "define a program"),
    "start": _entry("actions:Start", "start programs and wait until they run"),
    "stop": _entry("actions:Stop", "stop programs, step by step as they define it"),
    "restart": _entry("actions:Restart", "stop programs and start them again"),
    "kill": _entry("actions:Kill", "stop programs with SIGKILL, at once and with their whole process tree"),
    "logs": _entry("logs:Logs", "what a program printed; --follow for what it prints"),
    "input": _entry("console_input:Input", "type lines into the console of a program"),
    "scale": _entry("actions:Scale", "run so many instances of a program"),
    "adopt": _entry("adopt:Adopt", "take over a process that runs already, without a restart"),
    "remove": _entry("remove:Remove", "stop programs and forget them with their logs"),
    "import": _entry(
        "importing:Import", "define programs from a file of Supervisor, PM2, systemd, … or of our own"
    ),
    "export": _entry("exporting:Export", "write definitions as YAML"),
}


class Command(SubcommandsCommand):
    help = "Defines, starts, stops and shows programs. Exit codes: 0 done, 1 failed, 2 usage, 3 not running."
    subcommands = SUBCOMMANDS
