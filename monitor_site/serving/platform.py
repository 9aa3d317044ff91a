"""Whatever about processes differs between systems. The rest of `serving` and `jobs` asks here and never looks."""

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
# `nohup` asks for these to stay ignored. That a shell's `&` ignores SIGINT only keeps Ctrl-C away: who sends one
# to this process means it.
NOHUP_SIGNALS = [signal.SIGHUP] if sys.platform != "win32" else []
CHILD_SIGNALS = [signal.SIGCHLD] if sys.platform != "win32" else []
HAS_PIDFD = hasattr(os, "pidfd_open")
SCANS = 20  # a process may fork while the others are being killed, so looking once is not enough


def isolation() -> dict[str, Any]:
    """Popen options that keep the terminal's Ctrl-C and a group kill of one part away from the others."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def ask_to_stop(process: subprocess.Popen[bytes]) -> None:
    """Asks the main process alone. Windows has no SIGTERM to send: the end of its lifeline says the same."""
    if sys.platform == "win32":
        if process.stdin is not None:
            process.stdin.close()
    else:
        process.terminate()


def stop_myself() -> None:
    """What SIGTERM from outside would do, from any thread of this process."""
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)


def kill_group(leader: int) -> None:
    """SIGKILL to every process of the group. Windows has no such groups: only the leader is ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            os.kill(leader, signal.SIGTERM)
        else:
            os.killpg(leader, signal.SIGKILL)


def adopts_orphans() -> bool:
    """The first process of a container inherits every orphan in it and must collect their exit codes."""
    return os.getpid() == 1


def reap_orphans(own: Mapping[int, subprocess.Popen[bytes]]) -> None:
    """Collects dead processes that nobody started here; the codes of `own` stay with their Popen objects."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(ChildProcessError):
        while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if dead.si_pid in own:
                own[dead.si_pid].poll()
            else:
                os.waitpid(dead.si_pid, 0)


# --- Processes that carry a variable in their environment -----------------------------------------------


def kill_marked(name: str, value: str, *, spare: Collection[int] = ()) -> list[int]:
    """SIGKILLs every process that was started with `name=value` in its environment; returns their ids.

    Forked children count as well: they keep the environment of the process they came from.
    """
    spared = {os.getpid(), *spare}
    killed: list[int] = []
    for _ in range(SCANS):
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
        # Gone meanwhile, or another user's: neither is ours to kill.
        with contextlib.suppress(OSError):
            if pid not in spared and _kill_if_marked(pid, marker):
                yield pid


def _kill_if_marked(pid: int, marker: bytes) -> bool:
    """The descriptor is opened before the look, so the signal cannot reach a process that took over the id."""
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
                process.kill()  # compares start times first, so a reused id is safe
                yield process.pid
