"""A data folder with its processes and queries of its database."""

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
PATIENCE = 60.0  # seconds; generous for busy machines


def wait_until(condition: Callable[[], T], seconds: float = PATIENCE) -> T:
    """Returns the first true result of `condition`; fails after `seconds`."""
    started = time.monotonic()
    while not (found := condition()):
        waited = time.monotonic() - started
        assert waited < seconds, f"not true within {seconds:g} s"
        time.sleep(min(0.01 + waited / 20, 0.1))  # leave processor time to the others
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
        """Runs a command of manage.py and waits for its exit."""
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
        """Starts Python with these arguments; `printed()` returns its output."""
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
        """All living processes that were started here, directly or not."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            is_marked = process.environ().get(MARK) == str(self.folder)
            return is_marked and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def end_processes(self) -> None:
        kill_marked(MARK, str(self.folder))
