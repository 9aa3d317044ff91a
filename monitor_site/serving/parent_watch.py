"""How a part notices that whoever started it is gone, even by SIGKILL: a pipe whose other end the kernel closes.

`serve` gives each part a pipe as its standard input and never writes to it. That works on every system, has no
moment in which the parent could die unseen (as asking for its id has), and costs one sleeping thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from .platform import stop_myself

VARIABLE = "MONITOR_LIFELINE"  # seconds a part may take to stop once its parent is gone
STDIN = 0


def hold_from_environment() -> None:
    """Called once at the start of every command; does something only in a part that `serve` started."""
    grace = os.environ.pop(VARIABLE, "")
    if grace:
        hold(STDIN, grace_seconds=float(grace), last_resort=_leave)


def hold(descriptor: int, *, grace_seconds: float, last_resort: Callable[[], None]) -> None:
    """Stops this process when the other end of the pipe closes; after `grace_seconds` more, `last_resort`."""

    def wait() -> None:
        while os.read(descriptor, 1):
            pass
        stop_myself()
        time.sleep(grace_seconds)
        last_resort()

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def _leave() -> None:
    os._exit(1)
