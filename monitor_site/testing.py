"""Loaded by pytest before the settings: every test process gets a data folder of its own, gone afterwards.

What each test would do again with the same result is done once for all of them.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator

import pytest

folder = tempfile.mkdtemp(prefix="monitor-tests-")
owner = os.getpid()


@atexit.register
def remove() -> None:
    if os.getpid() == owner:  # not in a forked child
        shutil.rmtree(folder, ignore_errors=True)


# Tests start hundreds of Python processes: none of them shall compile the whole product again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# In the background a shell ignores Ctrl-C, and so would everything that tests start and press it for.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["DATA_DIR"] = folder
os.environ["SECRET_KEY"] = "only-for-tests-" + "x" * 50
os.environ["HOST_NAME"] = "testhost"
os.environ["CACHE_METRICS_SECONDS"] = "0"  # tests share the file, and revisions begin anew in each
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


@pytest.fixture(scope="session", autouse=True)
def one_look_at_the_static_files() -> Iterator[None]:
    """Each client of a test builds its own middleware; finding these files took longer than most requests."""
    from servestatic.middleware import ServeStaticMiddleware

    look = ServeStaticMiddleware.add_files_from_finders
    first: list[ServeStaticMiddleware] = []

    def look_once(middleware: ServeStaticMiddleware) -> None:
        if not first:
            look(middleware)
            first.append(middleware)
        middleware.files = first[0].files
        middleware.directories = first[0].directories

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServeStaticMiddleware, "add_files_from_finders", look_once)
        yield
