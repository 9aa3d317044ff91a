"""This project: `manage.py serve` with a database of its own, spoken to over HTTP with one kept connection."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil

from bench.contender import Contender, Program, StatusTiming, time_calls
from bench.processes import free_port, start
from bench.waiting import BenchError, last_lines, wait_until

PROJECT = Path(__file__).parents[2]
USER = "bench"
# What the person running this has set for their own monitor must not reach the measured one.
INHERITED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR")


class Ours(Contender):
    title = "ours"
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    status_has_usage = True

    def launch(self, programs: Sequence[Program]) -> None:
        self.data = self.directory / "data"
        self.log = self.directory / "output"
        self.environment = {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            "DATA_DIR": str(self.data),
            "DJANGO_SUPERUSER_USERNAME": USER,
            "DJANGO_SUPERUSER_PASSWORD": secrets.token_urlsafe(24),
            "DJANGO_SUPERUSER_EMAIL": "bench@example.com",
        }
        port = free_port()
        serve = self.command("serve", "--bind", f"127.0.0.1:{port}")
        self.daemon = start(serve, log=self.log, environment=self.environment)
        self.http = HTTPConnection("127.0.0.1", port, timeout=30)
        wait_until(self.is_healthy, seconds=60, failing="serve did not become healthy", every=0.2, log=self.log)
        self.headers = {"Authorization": f"Bearer {self.token()}"}
        wait_until(self.has_agent, seconds=30, failing="the agent did not report", every=0.2, log=self.log)
        for program in programs:
            self.ask("POST", "/programs", self.definition(program))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(PROJECT / "manage.py"), *arguments]

    def token(self) -> str:
        command = self.command("token", "create", "--user", USER, "--scope", "admin")
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode:
            raise BenchError(f"`manage.py token create` failed: {done.stderr.strip()}")
        return done.stdout.split()[-1]

    def is_healthy(self) -> bool:
        if not self.daemon.is_running() or self.daemon.status() == psutil.STATUS_ZOMBIE:
            raise BenchError(f"serve ended{last_lines(self.log)}")
        try:
            self.http.request("GET", "/api/system/health")
            answer = self.http.getresponse()
            answer.read()
        except (OSError, HTTPException):
            self.http.close()
            return False
        return answer.status == 200

    def has_agent(self) -> bool:
        return any(agent["alive"] for agent in self.ask("GET", "/system")["agents"])

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One call; the JSON of its answer. Raises BenchError on a status of 400 and up."""
        content = None if body is None else json.dumps(body)
        headers = self.headers if body is None else {**self.headers, "Content-Type": "application/json"}
        self.http.request(method, f"/api{path}", content, headers)
        answer = self.http.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise BenchError(f"{method} /api{path} answered {answer.status}: {text.decode()[:500]}")
        return json.loads(text) if text else None

    def definition(self, program: Program) -> dict[str, object]:
        wanted: dict[str, object] = {
            "name": program.name,
            "command": shlex.join(program.argv),
            "autostart": False,
            # As Circus and PM2 do by default; Supervisor's default also covers what the runs do.
            "restart_policy": "always",
        }
        if program.log_max_bytes is not None:
            # The peers do not compress.
            wanted |= {"log_max_bytes": program.log_max_bytes, "log_backups": program.log_backups}
            wanted["log_compress"] = False
        return wanted

    def start_all(self) -> None:
        self.ask("POST", "/programs/actions", {"action": "start", "all": True})

    def root(self) -> psutil.Process:
        return self.daemon

    def core(self, processes: Sequence[psutil.Process]) -> list[psutil.Process]:
        agents = [process for process in processes if "agent" in process.cmdline()[1:]]
        if not agents:
            raise BenchError("there is no `manage.py agent` among the processes of serve")
        inside = set(agents).union(*(agent.children(recursive=True) for agent in agents))
        return [process for process in processes if process in inside]

    def time_status(self, times: int) -> StatusTiming:
        programs = len(listed(self.ask("GET", "/status")))
        return StatusTiming(time_calls(lambda: self.ask("GET", "/status"), times), programs)

    def logs(self, program: Program) -> list[Path]:
        live = next((self.data / "logs").rglob("0.log"))
        archives = [path for path in live.parent.glob("0.log.*") if path.suffix not in (".part", ".gone")]
        return [*sorted(archives), live]


def listed(answer: Any) -> list[Any]:
    """The programs of a status answer, whether they come as a bare list or under a name."""
    return (
        answer if isinstance(answer, list) else next(value for value in answer.values() if isinstance(value, list))
    )
