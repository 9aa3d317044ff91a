"""Reads the process table through psutil, on systems other than Linux."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import psutil

from .base import Extras, ProcessSample

ATTRIBUTES = ["ppid", "create_time", "cpu_times", "memory_info", "num_threads"]


class PortableReader:
    def read(self) -> dict[int, ProcessSample]:
        samples = {}
        for process in psutil.process_iter(ATTRIBUTES):
            info = process.info
            if info["cpu_times"] and info["memory_info"]:
                samples[process.pid] = _sample(process.pid, info)
        return samples

    def extras(self, pid: int) -> Extras:
        process = psutil.Process
        open_files = read_bytes = write_bytes = None
        with contextlib.suppress(psutil.Error, AttributeError):
            open_files = process(pid).num_fds()
        with contextlib.suppress(psutil.Error, AttributeError):
            counters = process(pid).io_counters()
            read_bytes, write_bytes = counters.read_bytes, counters.write_bytes
        return Extras(open_files, read_bytes, write_bytes)

    def close(self) -> None:
        """Nothing to close."""


def _sample(pid: int, info: dict[str, Any]) -> ProcessSample:
    times = info["cpu_times"]
    reaped = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return ProcessSample(
        pid=pid,
        ppid=info["ppid"] or 0,
        session=_session(pid),
        kernel_start=int(info["create_time"] * 1000),
        own=round(1000 * (times.user + times.system)),
        reaped=round(1000 * reaped),
        memory_bytes=info["memory_info"].rss,
        threads=info["num_threads"] or 0,
    )


def _session(pid: int) -> int:
    try:
        return os.getsid(pid) if hasattr(os, "getsid") else 0
    except OSError:
        return 0
