"""`manage.py program …`: supervision from a terminal or a script. The subcommands are in `programs.cli`."""

from __future__ import annotations

from functools import partial

from core.cli.command import SubcommandsCommand
from core.cli.subcommand import Entry

_entry = partial(Entry, "programs.cli")

# A new subcommand is a class in a module of `programs.cli` and a line here.
SUBCOMMANDS: dict[str, Entry] = {
    "list": _entry("status:List", "list programs with their state"),
    "status": _entry("status:Status", "like list; exit code 3 if a selected program isn't running"),
    "add": _entry("add:Add", "create a program"),
    "start": _entry("actions:Start", "start programs and wait until they run"),
    "stop": _entry("actions:Stop", "stop programs with their stop steps"),
    "restart": _entry("actions:Restart", "stop programs and start them again"),
    "kill": _entry("actions:Kill", "stop programs at once, with SIGKILL to the whole process tree"),
    "logs": _entry("logs:Logs", "show the output of a program; --follow for new output"),
    "input": _entry("console_input:Input", "send lines to the console of a program"),
    "scale": _entry("actions:Scale", "set how many instances of a program run"),
    "adopt": _entry("adopt:Adopt", "take over a running process without a restart"),
    "remove": _entry("remove:Remove", "stop programs and delete them with their logs"),
    "import": _entry(
        "importing:Import", "create programs from a file: YAML, Supervisor, PM2, Procfile or systemd"
    ),
    "export": _entry("exporting:Export", "write definitions as YAML"),
}


class Command(SubcommandsCommand):
    help = "Creates, starts, stops and lists programs. Exit codes: 0 done, 1 failed, 2 usage, 3 not running."
    subcommands = SUBCOMMANDS
