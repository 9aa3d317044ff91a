"""Notices when the parent process is gone, even by SIGKILL: the kernel closes the parent's end of a pipe.

`serve` gives each child a pipe as standard input and never writes to it. This works on every system and, unlike
comparing parent ids, cannot miss a parent that dies early. It costs one sleeping thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from .platform import stop_self

VARIABLE = "MONITOR_LIFELINE"  # seconds that a child gets to stop when its parent is gone
STDIN = 0


def watch_from_environment() -> None:
    """Does nothing unless `serve` started this process. Call it first in every command."""
    grace = os.environ.pop(VARIABLE, "")
    if grace:
        watch(STDIN, grace_seconds=float(grace), on_timeout=_exit_now)


def watch(descriptor: int, *, grace_seconds: float, on_timeout: Callable[[], None]) -> None:
    """Stops this process when the other end of the pipe closes; calls `on_timeout` after `grace_seconds`."""

    def wait() -> None:
        while os.read(descriptor, 1):
            pass
        stop_self()
        time.sleep(grace_seconds)
        on_timeout()

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


def _exit_now() -> None:
    os._exit(1)
