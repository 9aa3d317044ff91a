"""All differences between operating systems that `serving` and `jobs` depend on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

STOP_SIGNALS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
]
# These stay ignored if `nohup` ignores them. SIGINT does not: a shell's `&` ignores it to keep Ctrl-C away, but a
# SIGINT sent to this process is meant for it.
NOHUP_SIGNALS = [signal.SIGHUP] if sys.platform != "win32" else []
CHILD_SIGNALS = [signal.SIGCHLD] if sys.platform != "win32" else []
HAS_PIDFD = hasattr(os, "pidfd_open")
MAX_SCANS = 20  # a process may fork while others are killed, so one scan is not enough


def isolation() -> dict[str, Any]:
    # Popen options that separate a child from the terminal's Ctrl-C and from other process groups.
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def request_stop(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":  # no SIGTERM to send, but closing the pipe stops the child too
        if process.stdin is not None:
            process.stdin.close()
    else:
        process.terminate()


def stop_self() -> None:
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)


def kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            os.kill(leader, signal.SIGTERM)
        else:
            os.killpg(leader, signal.SIGKILL)


def adopts_orphans() -> bool:
    # True for the first process of a container, which inherits every orphan and must collect its exit code.
    return os.getpid() == 1


def reap_orphans(own: Mapping[int, subprocess.Popen[bytes]]) -> None:
    # Reaps dead processes, except `own`, whose exit codes belong to their Popen objects.
    if sys.platform == "win32":
        return
    with contextlib.suppress(ChildProcessError):
        while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if dead.si_pid in own:
                own[dead.si_pid].poll()
            else:
                os.waitpid(dead.si_pid, 0)


# --- Processes with a marker in their environment -------------------------------------------------------


def kill_marked(name: str, value: str, *, spare: Collection[int] = ()) -> list[int]:
    """Kills every process started with `name=value` in its environment, forks included, and returns their ids."""
    spared = {os.getpid(), *spare}
    killed: list[int] = []
    for _ in range(MAX_SCANS):
        found = [pid for pid in _kill_found(name, value, spared) if pid not in killed]
        if not found:
            break
        killed += found
    return killed


def _kill_found(name: str, value: str, spared: Collection[int]) -> Iterator[int]:
    return _kill_by_pidfd(name, value, spared) if HAS_PIDFD else _kill_by_psutil(name, value, spared)


def _kill_by_pidfd(name: str, value: str, spared: Collection[int]) -> Iterator[int]:
    marker = f"{name}={value}".encode()
    for pid in [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]:
        # The process has exited or belongs to another user.
        with contextlib.suppress(OSError):
            if pid not in spared and _kill_if_marked(pid, marker):
                yield pid


def _kill_if_marked(pid: int, marker: bytes) -> bool:
    # Opened before the check, so that the signal cannot hit another process that gets the same id.
    descriptor = os.pidfd_open(pid)
    try:
        if marker not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return True
    finally:
        os.close(descriptor)


def _kill_by_psutil(name: str, value: str, spared: Collection[int]) -> Iterator[int]:
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in spared and process.environ().get(name) == value:
                process.kill()  # psutil compares start times first, so a reused id is safe
                yield process.pid
