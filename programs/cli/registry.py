"""The subcommands by name. A new one is a class in a module here and a line in this table."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from .subcommand import Subcommand


@dataclass(frozen=True)
class Entry:
    """`path` is `module:Class` within `package`, imported on use: a start time of its own each is not paid."""

    path: str
    help: str
    package: str = __package__

    def load(self) -> Subcommand:
        module, _, name = self.path.partition(":")
        made: Subcommand = getattr(import_module(f".{module}", self.package), name)()
        return made


SUBCOMMANDS: dict[str, Entry] = {
    "list": Entry("overview:List", "all programs and how they are"),
    "status": Entry("overview:Status", "how programs are; exit code 3 when one that is named does not run"),
    "add": Entry("define:Add", "define a program"),
    "start": Entry("verbs:Start", "start programs and wait until they run"),
    "stop": Entry("verbs:Stop", "stop programs, step by step as they define it"),
    "restart": Entry("verbs:Restart", "stop programs and start them again"),
    "kill": Entry("verbs:Kill", "stop programs with SIGKILL, at once and with their whole process tree"),
    "logs": Entry("output:Logs", "what a program printed; --follow for what it prints"),
    "input": Entry("console:Input", "type lines into the console of a program"),
    "scale": Entry("scaling:Scale", "run so many instances of a program"),
    "adopt": Entry("adopting:Adopt", "take over a process that runs already, without a restart"),
    "remove": Entry("removal:Remove", "stop programs and forget them with their logs"),
    "import": Entry(
        "importing:Import", "define programs from a file of Supervisor, PM2, systemd, … or of our own"
    ),
    "export": Entry("exporting:Export", "write definitions as YAML"),
}
