"""Systems other than Linux, through psutil: exits are found by polling, the rest is the same."""

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


def is_running(who: Identity) -> bool:
    return identity(who.pid) == who and not _is_zombie(who.pid)


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


def send_signal(who: Identity, number: int) -> bool:
    if identity(who.pid) != who:
        return False
    try:
        psutil.Process(who.pid).send_signal(number)
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
    """Asks ten times a second whether the process is still the same one."""

    def __init__(self, who: Identity, on_exit: OnExit) -> None:
        self._task = asyncio.get_running_loop().create_task(self._poll(who, on_exit))

    async def _poll(self, who: Identity, on_exit: OnExit) -> None:
        while identity(who.pid) == who and not _is_zombie(who.pid):  # noqa: ASYNC110  (there is nothing to wait for but time)
            await asyncio.sleep(POLL_SECONDS)
        on_exit()

    def exit(self) -> Exit:
        return Exit()

    def close(self) -> None:
        self._task.cancel()


def watch(who: Identity, on_exit: OnExit) -> PollingWatch:
    if identity(who.pid) != who:
        raise ProcessLookupError(who.pid)
    return PollingWatch(who, on_exit)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def oom_kills() -> int:
    return 0


def raise_file_limit() -> None:
    """Nothing to raise: without pidfds a program costs no descriptor."""


def adjust_started(pid: int, *, nice: int | None, keep_file_limit: bool) -> None:
    if nice is not None:
        with contextlib.suppress(psutil.Error):
            psutil.Process(pid).nice(nice)
