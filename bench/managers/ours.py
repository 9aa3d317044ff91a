"""This project: `manage.py serve` with its own database, controlled over one persistent HTTP connection."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil

from bench.managers.base import ProcessManager, Program, StatusTiming, time_calls
from bench.monitor import MANAGE, PROJECT, create_token, environment_in
from bench.processes import free_port, start
from bench.waiting import BenchError, last_lines, wait_until


class Ours(ProcessManager):
    title = "ours"
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    status_has_usage = True

    def launch(self, programs: Sequence[Program]) -> None:
        self.log = self.directory / "output"
        environment = environment_in(self.directory)
        port = free_port()
        serve = [*MANAGE, "serve", "--bind", f"127.0.0.1:{port}"]
        self.daemon = start(serve, log=self.log, environment=environment)
        self.http = HTTPConnection("127.0.0.1", port, timeout=30)
        wait_until(self.is_healthy, seconds=60, failing="serve did not become healthy", every=0.2, log=self.log)
        self.headers = {"Authorization": f"Bearer {create_token(environment, 'admin')}"}
        wait_until(self.has_agent, seconds=30, failing="the agent did not report", every=0.2, log=self.log)
        for program in programs:
            self.call("POST", "/programs", self.definition(program))

    def is_healthy(self) -> bool:
        if not self.daemon.is_running() or self.daemon.status() == psutil.STATUS_ZOMBIE:
            raise BenchError(f"serve exited{last_lines(self.log)}")
        try:
            self.http.request("GET", "/api/system/health")
            response = self.http.getresponse()
            response.read()
        except (OSError, HTTPException):
            self.http.close()
            return False
        return response.status == 200

    def has_agent(self) -> bool:
        return any(agent["alive"] for agent in self.call("GET", "/system")["agents"])

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of the response. Raises BenchError for a status of 400 and above."""
        content = None if body is None else json.dumps(body)
        headers = self.headers if body is None else {**self.headers, "Content-Type": "application/json"}
        self.http.request(method, f"/api{path}", content, headers)
        response = self.http.getresponse()
        text = response.read()
        if response.status >= 400:
            raise BenchError(f"{method} /api{path} returned {response.status}: {text.decode()[:500]}")
        return json.loads(text) if text else None

    def definition(self, program: Program) -> dict[str, object]:
        fields: dict[str, object] = {
            "name": program.name,
            "command": shlex.join(program.argv),
            "autostart": False,
            # The default of Circus and PM2. Supervisor's default also restarts after a kill.
            "restart_policy": "always",
        }
        if program.log_max_bytes is not None:
            # The peers do not compress.
            fields |= {"log_max_bytes": program.log_max_bytes, "log_backups": program.log_backups}
            fields["log_compress"] = False
        return fields

    def start_all(self) -> None:
        self.call("POST", "/programs/actions", {"action": "start", "all": True})

    def root_process(self) -> psutil.Process:
        return self.daemon

    def supervising(self, processes: Sequence[psutil.Process]) -> list[psutil.Process]:
        agents = [process for process in processes if "agent" in process.cmdline()[1:]]
        if not agents:
            raise BenchError("there is no `manage.py agent` among the processes of serve")
        inside = set(agents).union(*(agent.children(recursive=True) for agent in agents))
        return [process for process in processes if process in inside]

    def time_status(self, times: int) -> StatusTiming:
        programs = len(self.call("GET", "/status")["programs"])
        return StatusTiming(time_calls(lambda: self.call("GET", "/status"), times), programs)

    def logs(self, program: Program) -> list[Path]:
        live = next((self.directory / "data" / "logs").rglob("0.log"))
        archives = [path for path in live.parent.glob("0.log.*") if path.suffix not in (".part", ".gone")]
        return [*sorted(archives), live]
