"""File locks in RUN_DIR that allow one process at a time. The kernel releases them when the process ends."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class HeldError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"another `{name}` is running on {settings.DATA_DIR}")
        self.name = name


@contextlib.contextmanager
def hold(name: str) -> Iterator[int]:
    """Holds `RUN_DIR/<name>.lock`; raises HeldError when another process does.

    Yields the file descriptor: a forked child that may outlive this process must close it to release the lock.
    """
    path = Path(settings.RUN_DIR) / f"{name}.lock"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Python opens it close-on-exec, so programs started meanwhile do not keep the lock.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, name)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, name: str) -> None:
    """Retries briefly, because `is_held` in another process holds the lock while it checks."""
    for pause in (0.02, 0.05, 0.1):
        with contextlib.suppress(OSError):
            return _try_lock(descriptor)
        time.sleep(pause)
    raise HeldError(name)


def is_held(name: str) -> bool:
    try:
        with hold(name):
            return False
    except HeldError:
        return True
