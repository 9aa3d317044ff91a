"""Loaded by pytest before the settings: every test process gets a data folder of its own, gone afterwards."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile

folder = tempfile.mkdtemp(prefix="monitor-tests-")
owner = os.getpid()


@atexit.register
def remove() -> None:
    if os.getpid() == owner:  # not in a forked child
        shutil.rmtree(folder, ignore_errors=True)


# Tests start hundreds of Python processes: none of them shall compile the whole product again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ["DATA_DIR"] = folder
os.environ["SECRET_KEY"] = "only-for-tests-" + "x" * 50
os.environ["HOST_NAME"] = "testhost"
for name in (
    "MONITOR_APPS",
    "DATABASE_URL",
    "REDIS_URL",
    "BIND",
    "ALLOWED_HOSTS",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "WEBHOOK_NETWORK",
):
    os.environ.pop(name, None)
