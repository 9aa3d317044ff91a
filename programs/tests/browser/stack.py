"""A complete monitor in a temporary folder, with agent, web server and programs."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from django.conf import settings

PASSWORD = "correct horse battery"
PREPARE = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
from core.access import Role, set_role
from programs import services
for role in Role:
    set_role(User.objects.create_user(str(role), password="correct horse battery"), role)
ticker = "i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done"
services.save_definition({"name": "ticker", "shell": True, "command": ticker, "backoff_initial": 0}, actor="test")
echo = "read line; while true; do echo you said $line; read line; done"
services.save_definition({"name": "echo", "shell": True, "command": echo, "stdin": "console"}, actor="test")
"""


class Stack:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = 0
        self._parts: dict[str, subprocess.Popen[str]] = {}
        self._log = (data / "stderr").open("w")
        self._manage("shell", "--verbosity=0", "--command", PREPARE)

    def start(self) -> None:
        self._parts["agent"] = self._popen(str(settings.BASE_DIR / "manage.py"), "agent")
        self.start_web(free_port())
        wait_for(lambda: self.sql("SELECT count(*) FROM programs_process WHERE state = 'running'") == [(2,)])

    def start_web(self, port: int) -> None:
        self._parts["web"] = self._popen(
            str(settings.BASE_DIR / "manage.py"), "web", "--bind", f"127.0.0.1:{port}"
        )
        self.port = port
        wait_for(lambda: is_listening(port))

    def kill_web(self) -> None:
        self._parts["web"].kill()
        self._parts.pop("web").communicate()

    def sql(self, query: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.data / "monitor.sqlite3", timeout=60)) as opened:
            return opened.execute(query, values).fetchall()

    def pid_of(self, name: str) -> int:
        join = (
            "SELECT s.pid FROM programs_process s JOIN programs_program p ON p.id = s.program_id WHERE p.name = ?"
        )
        return int(self.sql(join, name)[0][0])

    def id_of(self, name: str) -> int:
        return int(self.sql("SELECT id FROM programs_program WHERE name = ?", name)[0][0])

    def end(self) -> None:
        for part in self._parts.values():
            part.terminate()
        for part in self._parts.values():
            part.communicate(timeout=60)
        self._log.close()
        for (pid,) in self.sql("SELECT pid FROM programs_process WHERE pid IS NOT NULL"):
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _manage(self, *arguments: str) -> None:
        done = self._popen(str(settings.BASE_DIR / "manage.py"), *arguments)
        done.communicate(timeout=300)
        assert done.returncode == 0, (self.data / "stderr").read_text()

    def _popen(self, *arguments: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=settings.BASE_DIR,
            env=kept
            | {"DATA_DIR": str(self.data), "DATABASE_URL": "", "DJANGO_SETTINGS_MODULE": "monitor_site.settings"},
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            text=True,
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
