"""What every benchmark shares: a temporary directory, a line about the machine, the report."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import kill_descendants
from bench.table import align
from bench.waiting import BenchError

Tables = list[list[list[str]]]  # tables of rows of cells; the first row of each is its header


def say(line: str) -> None:
    """Report progress on stderr, so that stdout holds the tables alone."""
    print(line, file=sys.stderr, flush=True)


def machine() -> str:
    load = os.getloadavg()[0]
    return f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f}"


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Kills every process that was started meanwhile before it removes the directory."""
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield directory
    finally:
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        kill_descendants()
        shutil.rmtree(directory)
        signal.signal(signal.SIGINT, interrupt)


def exit_on_sigterm() -> None:
    """Raise SystemExit on SIGTERM, so that the cleanup runs."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def report(measure: Callable[[Path], Tables], file: Path | None) -> int:
    """Measure in a temporary directory, print the tables and write them to `file`. Returns the exit code."""
    exit_on_sigterm()
    about = machine()
    try:
        with temporary_directory() as directory:
            tables = measure(directory)
    except BenchError as error:
        say(str(error))
        return 1
    print(f"{about} at the start\n")
    print("\n\n".join(align(rows) for rows in tables))
    if file:
        file.write_text(json.dumps({"machine": about, "tables": tables}, indent=2) + "\n")
    return 0
