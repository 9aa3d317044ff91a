"""How the processes of a cluster are found again when those who started them are gone.

All of them carry a variable in their environment that names this data folder. Process names say nothing, and ids
are reused; the environment of a process is fixed when it starts and stays with what it forks.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.conf import settings

from monitor_site.serving import platform

VARIABLE = "MONITOR_JOBS"


def value() -> str:
    """Device and inode of the data folder: the same path in another container is another folder."""
    folder = Path(settings.DATA_DIR).stat()
    return f"{folder.st_dev}:{folder.st_ino}"


def environment() -> dict[str, str]:
    return {VARIABLE: value()}


def ensure_marked() -> None:
    """Makes this process one of the marked, by starting it anew when whoever started it did not mark it."""
    if os.environ.get(VARIABLE) == value():
        return
    os.environ.update(environment())
    if sys.platform != "win32":  # there, what a process changes is seen by others too
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  (the same command line again)


def end_leftovers() -> list[int]:
    """SIGKILLs every marked process but this one; returns their ids."""
    return platform.kill_marked(VARIABLE, value())
