"""Polling with a time limit, and the error that ends a benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


class BenchError(Exception):
    """Something could not be installed, started or measured. The message is for the terminal."""


def wait_until(
    condition: Callable[[], bool], *, seconds: float, failing: str, every: float = 0.02, log: Path | None = None
) -> None:
    """Poll until true. After `seconds`, raises BenchError with `failing` and the last lines of the log."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{failing} within {seconds:g} s{last_lines(log)}")
        time.sleep(every)


def last_lines(log: Path | None, count: int = 5) -> str:
    """The end of a log, indented, to append to an error message; empty if nothing was written."""
    lines = log.read_text(errors="replace").splitlines() if log and log.exists() else []
    return "".join(f"\n    {line}" for line in lines[-count:])
