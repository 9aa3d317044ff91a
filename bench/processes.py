"""Starts processes, reads their CPU time and memory, and kills all of them at the end."""

from __future__ import annotations

import contextlib
import ctypes
import json
import selectors
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.waiting import BenchError, last_lines

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Become the parent of orphaned descendants, so that `kill_descendants` finds daemons and their programs."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def kill_descendants() -> None:
    # `children` lists parents first, so a manager is killed before it can restart its programs.
    while descendants := psutil.Process().children(recursive=True):
        for process in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(descendants, timeout=2)


def start(
    argv: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None
) -> psutil.Process:
    """Start a daemon in its own session with its output appended to `log`."""
    with log.open("ab") as output:
        return psutil.Popen(
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=environment,
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class HelperProcess:
    """A child process that answers one JSON line with one JSON line; `{"error": …}` reports a failure."""

    def __init__(
        self, argv: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env=environment,
            )

    def ask(self, do: str, *, seconds: float = 60, **arguments: object) -> dict[str, Any]:
        """Raises BenchError on an error, if the process exits, or if it does not answer within `seconds`."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                raise BenchError(f"no answer to {do!r} within {seconds:g} s")
        answer: dict[str, Any] = json.loads(self.process.stdout.readline() or b'{"error": "the process exited"}')
        if "error" in answer:
            raise BenchError(f"{do!r} failed: {answer['error']}{last_lines(self.log)}")
        return answer


def tree(root: psutil.Process, *, without: set[int]) -> list[psutil.Process]:
    """The root and its descendants, except the given pids (the supervised programs) and their descendants."""
    found, waiting = [], [root]
    while waiting:
        process = waiting.pop()
        found.append(process)
        with contextlib.suppress(psutil.NoSuchProcess):
            waiting.extend(child for child in process.children() if child.pid not in without)
    return found


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """User and system time of the processes and of the children they reaped."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def machine_busy_seconds() -> float:
    """CPU time that all cores have spent on any work since boot."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


@dataclass(frozen=True)
class Memory:
    """Bytes: proportional set size (shared pages divided among the processes) and resident set size."""

    pss: int
    rss: int


def memory(processes: Sequence[psutil.Process]) -> Memory:
    infos = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            infos.append(process.memory_full_info())
    return Memory(pss=sum(info.pss for info in infos), rss=sum(info.rss for info in infos))
