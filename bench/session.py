"""What the benchmarks begin and end with: a place to work in, the machine they ran on, and their report."""

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

from bench.processes import end_descendants
from bench.table import align
from bench.waiting import BenchError

Tables = list[list[list[str]]]  # of lines, of cells; the first line of each is its heading


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def machine() -> str:
    load = os.getloadavg()[0]
    return f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f}"


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory of one contender's own. Whatever was started meanwhile is ended, then the directory goes."""
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield directory
    finally:
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_descendants()
        shutil.rmtree(directory)
        signal.signal(signal.SIGINT, interrupt)


def exit_when_terminated() -> None:
    """Has SIGTERM end the process by an exception, so that what it started is ended with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def report(measure: Callable[[Path], Tables], file: Path | None) -> int:
    """Measures in a place of its own, prints the tables and writes them to `file`; the exit code."""
    exit_when_terminated()
    about = machine()
    try:
        with workplace() as directory:
            tables = measure(directory)
    except BenchError as error:
        say(str(error))
        return 1
    print(f"{about} at the start\n")
    print("\n\n".join(align(lines) for lines in tables))
    if file:
        file.write_text(json.dumps({"machine": about, "tables": tables}, indent=2) + "\n")
    return 0
