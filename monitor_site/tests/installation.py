"""A data folder, the processes started on it, and a look into its database from outside."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import psutil

from monitor_site.environment import BASE_DIR
from monitor_site.serving.platform import kill_marked

T = TypeVar("T")
MARK = "MONITOR_TEST_FOLDER"
PATIENCE = 60.0  # for a machine that does ten other things; nothing waits that long when all is well


def wait_until(look: Callable[[], T], seconds: float = PATIENCE) -> T:
    """The first true thing `look` gives; fails when there is none within `seconds`."""
    begun = time.monotonic()
    while not (found := look()):
        waited = time.monotonic() - begun
        assert waited < seconds, f"not true within {seconds:g} s"
        time.sleep(min(0.01 + waited / 20, 0.1))  # a look costs, and others need the processor
    return found


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Installation:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.database = folder / "monitor.sqlite3"
        self.output = folder.with_name(f"{folder.name}.output")
        self.environment = {**os.environ, "DATA_DIR": str(folder), MARK: str(folder), "HOST_NAME": "testhost"}

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command of manage.py to its end."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=BASE_DIR,
            env={**self.environment, **environment},
            check=False,
            capture_output=True,
            text=True,
            timeout=5 * PATIENCE,
        )

    def start(self, *arguments: str, **environment: str) -> psutil.Popen:
        """Python with these arguments, left running; what it prints goes to `printed()`."""
        with self.output.open("a") as output:
            return psutil.Popen(
                [sys.executable, *arguments],
                cwd=BASE_DIR,
                env={**self.environment, **environment},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def printed(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def query(self, sql: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.database, timeout=PATIENCE)) as connection, connection:
            return connection.execute(sql, values).fetchall()

    def processes(self) -> list[psutil.Process]:
        """Whatever lives and was started here, however it is related by now."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            is_marked = process.environ().get(MARK) == str(self.folder)
            return is_marked and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def end_processes(self) -> None:
        kill_marked(MARK, str(self.folder))
