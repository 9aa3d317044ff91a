"""Whether the folders that a start needs answer. The kernel cannot be asked for them with a time limit.

A process is asked to look, not a thread: where it may hang for good, it must not keep the agent from ending.
"""

from __future__ import annotations

import errno
import os
import subprocess
from functools import lru_cache

from .platform.mounts import RemoteMounts, remote_mount_of

LOOK = ("stat", "-f")  # asks the server; the answer about a file may come from a cache
PATIENCE_SECONDS = 0.05  # once for each mount: while a look hangs nobody waits for it again

_looking: dict[str, subprocess.Popen[bytes]] = {}


@lru_cache(maxsize=1)
def _remote() -> RemoteMounts:
    return RemoteMounts()


def check_answers(*paths: str) -> None:
    """Raises OSError (EHOSTDOWN) when one of these lies where nobody answers. Costs nothing elsewhere."""
    if mounts := _remote().now():
        for mount in {remote_mount_of(os.path.abspath(path), mounts) for path in paths} - {None}:  # noqa: PTH100
            _check(str(mount))


def _check(mount: str) -> None:
    patience = 0.0 if mount in _looking else PATIENCE_SECONDS
    try:
        if mount not in _looking:
            _looking[mount] = _look(mount)
        _looking[mount].wait(patience)
    except subprocess.TimeoutExpired:
        raise OSError(errno.EHOSTDOWN, f"{mount} does not answer: its server may be gone") from None
    except FileNotFoundError:  # a system without the command: then the start itself has to find out
        return
    del _looking[mount]


def _look(mount: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*LOOK, mount],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        close_fds=False,
    )
