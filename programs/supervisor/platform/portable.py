"""Systems other than Linux: uses psutil, and polls for exits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

import psutil

from .base import MARKER, Exit, Identity, OnExit, ProcessInfo

POLL_SECONDS = 0.1


def now() -> float:
    return time.time() - psutil.boot_time()


def boot_id() -> str:
    return str(int(psutil.boot_time()))


def kernel_seconds(kernel_start: int) -> float:
    return kernel_start / 1000 - psutil.boot_time()


def _kernel_start(process: psutil.Process) -> int:
    return int(process.create_time() * 1000)


def identity(pid: int) -> Identity | None:
    try:
        return Identity(pid, _kernel_start(psutil.Process(pid)), boot_id())
    except psutil.Error:
        return None


def is_running(target: Identity) -> bool:
    return identity(target.pid) == target and not _is_zombie(target.pid)


def process_table() -> dict[int, ProcessInfo]:
    table = {}
    for process in psutil.process_iter(["ppid", "status"]):
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            table[process.pid] = ProcessInfo(
                pid=process.pid,
                ppid=process.info["ppid"] or 0,
                group=os.getpgid(process.pid) if hasattr(os, "getpgid") else process.pid,
                session=os.getsid(process.pid) if hasattr(os, "getsid") else process.pid,
                kernel_start=_kernel_start(process),
                is_zombie=process.info["status"] == psutil.STATUS_ZOMBIE,
            )
    return table


def marker_of(pid: int) -> str | None:
    try:
        return psutil.Process(pid).environ().get(MARKER)
    except (psutil.Error, OSError):
        return None


def send_signal(target: Identity, number: int) -> bool:
    if identity(target.pid) != target:
        return False
    try:
        psutil.Process(target.pid).send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


def kill_group(leader: int) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True


class PollingWatch:
    """Checks ten times a second whether the process still runs."""

    def __init__(self, target: Identity, on_exit: OnExit) -> None:
        self._task = asyncio.get_running_loop().create_task(self._poll(target, on_exit))

    async def _poll(self, target: Identity, on_exit: OnExit) -> None:
        while identity(target.pid) == target and not _is_zombie(target.pid):  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(POLL_SECONDS)
        on_exit()

    def exit(self) -> Exit:
        return Exit()

    def close(self) -> None:
        self._task.cancel()


def watch(target: Identity, on_exit: OnExit) -> PollingWatch:
    if identity(target.pid) != target:
        raise ProcessLookupError(target.pid)
    return PollingWatch(target, on_exit)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def oom_kills() -> int:
    return 0


def raise_file_limit() -> None:
    """Nothing to do: without pidfds a program takes no descriptor."""


def adjust_started(pid: int, *, nice: int | None, keep_file_limit: bool) -> None:
    if nice is not None:
        with contextlib.suppress(psutil.Error):
            psutil.Process(pid).nice(nice)
