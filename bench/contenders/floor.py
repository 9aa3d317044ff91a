"""The bare pidfd loop: no API, no rotation, no records. It tells what the machine itself costs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from bench.contender import Contender, Program
from bench.processes import LineClient

CLIENT = Path(__file__).parent.parent / "clients" / "floor_loop.py"


class Floor(Contender):
    title = "bare loop"

    def launch(self, programs: Sequence[Program]) -> None:
        self.loop = LineClient([sys.executable, CLIENT, self.directory], log=self.directory / "floor.log")
        self.loop.ask("define", programs={program.name: program.argv for program in programs})

    def start_all(self) -> None:
        self.loop.ask("start")

    def root(self) -> psutil.Process:
        return psutil.Process(self.loop.process.pid)
