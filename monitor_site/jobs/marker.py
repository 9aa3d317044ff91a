"""Finds the processes of a cluster after their parents are gone.

All carry an environment variable that names the data folder. Process names are ambiguous and ids are reused, but
the environment is fixed at start and inherited by forks.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.conf import settings

from monitor_site.serving import platform

VARIABLE = "MONITOR_JOBS"


def value() -> str:
    # Device and inode, because the same path in another container is another folder.
    folder = Path(settings.DATA_DIR).stat()
    return f"{folder.st_dev}:{folder.st_ino}"


def environment() -> dict[str, str]:
    return {VARIABLE: value()}


def ensure_marked() -> None:
    """Executes the same command line again with the marker if it is missing."""
    if os.environ.get(VARIABLE) == value():
        return
    os.environ.update(environment())
    if sys.platform != "win32":  # on Windows a process can change the environment that others see
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  (the same command line again)


def kill_leftovers() -> list[int]:
    """Kills every marked process except this one and returns their ids."""
    return platform.kill_marked(VARIABLE, value())
