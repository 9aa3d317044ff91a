"""A bare pidfd loop without API, log rotation or records: the lower bound that the machine itself sets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from bench.managers.base import ProcessManager, Program
from bench.processes import HelperProcess

SCRIPT = Path(__file__).parent.parent / "helper_processes" / "bare_loop.py"


class BareLoop(ProcessManager):
    title = "bare loop"

    def launch(self, programs: Sequence[Program]) -> None:
        self.loop = HelperProcess([sys.executable, SCRIPT, self.directory], log=self.directory / "loop.log")
        self.loop.ask("define", programs={program.name: program.argv for program in programs})

    def start_all(self) -> None:
        self.loop.ask("start")

    def root_process(self) -> psutil.Process:
        return psutil.Process(self.loop.process.pid)
