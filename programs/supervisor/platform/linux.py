"""Linux: watches exits with pidfds and reads everything else from /proc."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import struct
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import structlog

from .base import MARKER, Exit, Identity, OnExit, ProcessInfo

log = structlog.get_logger(__name__)
TICKS = os.sysconf("SC_CLK_TCK")
PIDFD_INFO_EXIT = 1 << 3
PIDFD_INFO_SIZE = 64
PIDFD_GET_INFO = (3 << 30) | (PIDFD_INFO_SIZE << 16) | (0xFF << 8) | 11  # _IOWR(0xFF, 11, struct pidfd_info)
_original_limit: tuple[int, int] | None = None


def now() -> float:
    """Seconds since boot, suspend included: the kernel's start times count on the same clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@lru_cache(maxsize=1)
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def kernel_seconds(kernel_start: int) -> float:
    """A kernel start time in seconds on the clock of `now`."""
    return kernel_start / TICKS


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/<pid>/stat from field 3 (state) on; None when the process is gone."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # the last: /proc mounted with hidepid
        return None
    try:
        line = os.read(descriptor, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)
    return line[line.rindex(b")") + 2 :].split()


def identity(pid: int) -> Identity | None:
    """The process that has `pid` now, possibly a zombie; None if there is none."""
    fields = _stat(pid)
    return None if fields is None else Identity(pid, int(fields[19]), boot_id())


def is_running(target: Identity) -> bool:
    """False for a zombie, and when the pid was reused."""
    fields = _stat(target.pid)
    return (
        fields is not None
        and fields[0] not in (b"Z", b"X")
        and int(fields[19]) == target.kernel_start
        and target.boot_id == boot_id()
    )


def process_table() -> dict[int, ProcessInfo]:
    """All processes of the machine. Takes about 10 µs for each."""
    table = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  (names only; Path objects would double the cost)
        if name.isdigit() and (fields := _stat(int(name))):
            table[int(name)] = ProcessInfo(
                pid=int(name),
                ppid=int(fields[1]),
                group=int(fields[2]),
                session=int(fields[3]),
                kernel_start=int(fields[19]),
                is_zombie=fields[0] in (b"Z", b"X"),
            )
    return table


def marker_of(pid: int) -> str | None:
    """The marker in the environment that `pid` was started with; None without one or when it is unreadable."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    for entry in environment.split(b"\0"):
        if entry.startswith(MARKER.encode() + b"="):
            return entry.partition(b"=")[2].decode(errors="replace")
    return None


def send_signal(target: Identity, number: int) -> bool:
    """False when it is gone (also if its pid was reused) or may not be signalled."""
    try:
        descriptor = os.pidfd_open(target.pid)
    except ProcessLookupError:
        return False
    try:
        # The descriptor pins the process: if the start time matches, the pid cannot be reused before the signal.
        if (
            target.boot_id != boot_id()
            or (fields := _stat(target.pid)) is None
            or int(fields[19]) != target.kernel_start
        ):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(descriptor)
    return True


def kill_group(leader: int) -> None:
    """SIGKILL to a process group. Its leader must be our unreaped child, or the number may be reused."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


class PidfdWatch:
    """Calls back once when the process exits, child or not. The pidfd also gives the exit status later."""

    def __init__(self, pid: int, on_exit: OnExit) -> None:
        self.pid = pid
        self.descriptor = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self._on_exit = on_exit
        self._loop.add_reader(self.descriptor, self._exited)

    def _exited(self) -> None:
        self._loop.remove_reader(self.descriptor)
        self._on_exit()

    def exit(self) -> Exit:
        """Of a zombie from /proc; of one that its parent has reaped from the pidfd (Linux 6.15 and later)."""
        status = _zombie_status(self.pid)
        if status is None:
            status = _pidfd_status(self.descriptor)
        if status is None:
            return Exit()
        if os.WIFSIGNALED(status):
            return Exit(signal=signal_name(os.WTERMSIG(status)))
        return Exit(code=os.WEXITSTATUS(status))

    def close(self) -> None:
        if self.descriptor >= 0:
            self._loop.remove_reader(self.descriptor)
            os.close(self.descriptor)
            self.descriptor = -1


def watch(target: Identity, on_exit: OnExit) -> PidfdWatch:
    """Raises ProcessLookupError when the process is gone or its pid was reused."""
    found = PidfdWatch(target.pid, on_exit)
    if identity(target.pid) != target:
        found.close()
        raise ProcessLookupError(target.pid)
    return found


def _zombie_status(pid: int) -> int | None:
    fields = _stat(pid)
    # The kernel shows 0 instead of the status to users target may not trace the process.
    if (
        fields is None
        or fields[0] != b"Z"
        or (os.geteuid() and Path(f"/proc/{pid}").stat().st_uid != os.geteuid())
    ):
        return None
    return int(fields[49])


def _pidfd_status(descriptor: int) -> int | None:
    answer = bytearray(struct.pack("QQ", PIDFD_INFO_EXIT, 0).ljust(PIDFD_INFO_SIZE, b"\0"))
    try:
        fcntl.ioctl(descriptor, PIDFD_GET_INFO, answer)
    except OSError:
        return None
    (mask,) = struct.unpack_from("Q", answer)
    (status,) = struct.unpack_from("i", answer, 60)
    return status if mask & PIDFD_INFO_EXIT else None


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def oom_kills() -> int:
    """The number of out-of-memory kills since boot."""
    for line in Path("/proc/vmstat").read_text().splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0


def raise_file_limit() -> None:
    """Each program takes two descriptors. Programs get the old limit back (`adjust_started`)."""
    global _original_limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    _original_limit = (soft, hard)
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def adjust_started(pid: int, *, nice: int | None, keep_file_limit: bool) -> None:
    """Sets priority and file limit from outside, right after the start."""
    if nice is not None:
        with _failure_logged("nice", pid):
            os.setpriority(os.PRIO_PGRP, pid, nice)
    if _original_limit and not keep_file_limit:
        with _failure_logged("file limit", pid):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _original_limit)


@contextlib.contextmanager
def _failure_logged(what: str, pid: int) -> Iterator[None]:
    """A program that exited at once or changed its user (sudo) counts as started."""
    try:
        yield
    except ProcessLookupError:
        pass
    except PermissionError as error:
        log.warning("program.not_adjusted", what=what, pid=pid, error=str(error))
