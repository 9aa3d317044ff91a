"""Waiting with an end, and the error that says in vain for what."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


class BenchError(Exception):
    """A contender could not be installed, started or measured; the message is for the person at the terminal."""


def wait_until(
    condition: Callable[[], bool], *, seconds: float, failing: str, every: float = 0.02, log: Path | None = None
) -> None:
    """Poll until true. Raises BenchError with `failing` and the end of the log after that many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{failing} within {seconds:g} s{last_lines(log)}")
        time.sleep(every)


def last_lines(log: Path | None, count: int = 5) -> str:
    """The end of a log, to be put behind an error message; empty when nothing was written."""
    lines = log.read_text(errors="replace").splitlines() if log and log.exists() else []
    return "".join(f"\n    {line}" for line in lines[-count:])
