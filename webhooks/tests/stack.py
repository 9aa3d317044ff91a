"""The processes of an installation on the test's database. Each can be killed and restarted."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import psutil

from core.tests.databases import url_of_this_database
from core.tests.http_server import free_port
from programs.models import ProgramEvent
from programs.tests.actors import MANAGE, AgentBox, end, end_all

from .author import Author

MARK = "MONITOR_TEST_FOLDER"
CLUSTER = 5  # main process, two workers, two helpers


class Stack:
    """`agent`, `jobs` and `web`; an `author` changes a program with the API of `web`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agent = AgentBox(folder)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.author = Author(free_port())
        self.environment = {
            **os.environ,
            "DATA_DIR": str(folder),
            "DATABASE_URL": url_of_this_database(),
            "DJANGO_SETTINGS_MODULE": "monitor_site.settings",
            "MONITOR_APPS": "lean",
            MARK: str(folder),
        }

    def start(self, name: str) -> None:
        if name == "agent":
            self.agents = started_agents()
            self.agent.start(wait=False)
            return
        arguments, environment = [str(MANAGE), name], self.environment
        if name == "web":
            arguments += ["--bind", f"127.0.0.1:{self.author.port}"]
            environment = environment | {"MONITOR_APPS": ""}
            self.acknowledged_before = len(self.author.acknowledged)
        with (self.folder / f"{name}.out").open("ab") as output:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *arguments], env=environment, cwd=MANAGE.parent, stdout=output, stderr=output
            )

    def is_at_work(self, name: str) -> bool:
        """Whether it has started so far that killing it interrupts work."""
        if name == "agent":
            return started_agents() > self.agents
        if name == "web":
            return len(self.author.acknowledged) > self.acknowledged_before
        return len(psutil.Process(self.processes[name].pid).children(recursive=True)) >= CLUSTER

    def kill(self, name: str) -> None:
        """SIGKILL. For jobs, to a random one of its processes: guard, cluster or worker."""
        if name == "agent":
            self.agent.kill()
            return
        victim = psutil.Process(self.processes[name].pid)
        if name == "jobs":
            victim = random.choice([victim, *victim.children(recursive=True)])
        end(victim)
        if victim.pid == self.processes[name].pid:
            self.processes[name].wait()

    def renew_jobs(self) -> None:
        # A cluster that hangs after one of its workers was killed recovers by itself, but slowly.
        self.processes["jobs"].kill()
        self.processes["jobs"].wait()
        self.start("jobs")

    def restart_killed(self) -> None:
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                self.start(name)
        if self.agent.process and self.agent.process.poll() is not None:
            self.start("agent")

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.out")))

    def end(self) -> None:
        self.author.stop()
        self.agent.clean_up()
        end_all(lambda: [process for process in psutil.process_iter() if self._is_ours(process)])
        for started in self.processes.values():
            started.wait()

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            is_marked = process.environ().get(MARK) == str(self.folder)
            return is_marked and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def started_agents() -> int:
    return ProgramEvent.objects.filter(type="agent.started").count()
