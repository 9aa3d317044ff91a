"""PM2, controlled through its programmatic API by one connected node process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import psutil

from bench.managers.base import ProcessManager, Program, StatusTiming
from bench.peer_install import node_environment
from bench.processes import HelperProcess

CLIENT = Path(__file__).parent.parent / "helper_processes" / "pm2_client.js"


class PM2(ProcessManager):
    title = "PM2"
    version = "7.0.4"
    status_has_usage = True
    modules: Path

    @classmethod
    def install(cls) -> None:
        cls.modules = node_environment("pm2", f"pm2@{cls.version}")

    def launch(self, programs: Sequence[Program]) -> None:
        home = self.directory / "pm2"
        environment = os.environ | {
            "PM2_HOME": str(home),
            "PM2_PROGRAMMATIC": "true",
            "PM2_DISABLE_VERSION_CHECK": "true",  # no request for the newest version
        }
        self.client = HelperProcess(
            ["node", CLIENT, self.modules], log=self.directory / "client.log", environment=environment
        )
        self.client.ask("connect")
        # PM2 cannot define a program without starting it. Restarting a stopped one is also its faster case.
        self.client.ask("start", apps=[self.app(program) for program in programs])
        self.client.ask("stop")
        self.daemon = psutil.Process(int((home / "pm2.pid").read_text()))

    def app(self, program: Program) -> dict[str, object]:
        command, *arguments = program.argv
        app: dict[str, object] = {
            "name": program.name,
            "script": command,
            "args": arguments,
            "interpreter": "none",
        }
        if program.log_max_bytes is not None:
            app["out_file"] = str(self.directory / f"{program.name}.log")
        return app

    def start_all(self) -> None:
        self.client.ask("restart")

    def root_process(self) -> psutil.Process:
        return self.daemon

    def time_status(self, times: int) -> StatusTiming:
        return StatusTiming(**self.client.ask("list", times=times))
