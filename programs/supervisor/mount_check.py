"""Checks that the file systems a start needs respond. System calls on a dead mount hang and have no time limit.

A process does the check, not a thread: a thread that hangs for good would keep the agent from exiting.
"""

from __future__ import annotations

import errno
import os
import subprocess
from functools import lru_cache

from .platform.mounts import RemoteMounts, remote_mount_of

CHECK_COMMAND = ("stat", "-f")  # asks the server; a plain stat may be answered from the cache
TIMEOUT_SECONDS = 0.05  # once for each mount: while a check hangs, later ones fail at once

_pending: dict[str, subprocess.Popen[bytes]] = {}


@lru_cache(maxsize=1)
def _remote() -> RemoteMounts:
    return RemoteMounts()


def check_answers(*paths: str) -> None:
    """Raises OSError (EHOSTDOWN) when a path is on a mount that does not respond. Local disks cost nothing."""
    if mounts := _remote().now():
        for mount in {remote_mount_of(os.path.abspath(path), mounts) for path in paths} - {None}:  # noqa: PTH100
            _check(str(mount))


def _check(mount: str) -> None:
    timeout = 0.0 if mount in _pending else TIMEOUT_SECONDS
    try:
        if mount not in _pending:
            _pending[mount] = _start_check(mount)
        _pending[mount].wait(timeout)
    except subprocess.TimeoutExpired:
        raise OSError(errno.EHOSTDOWN, f"{mount} does not answer: its server may be gone") from None
    except FileNotFoundError:  # no such command on this system: then the start itself has to find out
        return
    del _pending[mount]


def _start_check(mount: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*CHECK_COMMAND, mount],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        close_fds=False,
    )
