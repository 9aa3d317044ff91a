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
from typing import Any

import pytest

DATABASE = {"db", "transactional_db"}
PROCESSES = {"agent", "box", "installation", "empty_installation", "stack", "web", "page", "live_server"}
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
    "SENTRY_DSN",
    "SENTRY_ENVIRONMENT",
    "WEBHOOK_NETWORK",
):
    os.environ.pop(name, None)
if server := os.environ.get("MONITOR_TEST_DATABASE_URL"):  # of a PostgreSQL; each process makes its own there
    os.environ["DATABASE_URL"] = server


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    """More than there are cores: many tests wait for a process, a deadline or the next second."""
    cores = os.cpu_count() or 1
    return cores + (cores + 1) // 2


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


@pytest.fixture(scope="session", autouse=True)
def content_types_and_permissions_made_once() -> Iterator[None]:
    """After a test with transactions Django empties all tables and makes these anew, model by model, for 0.1 s."""
    from django.contrib.auth.models import Permission
    from django.contrib.contenttypes.models import ContentType
    from django.core.management.sql import emit_post_migrate_signal as make

    content_types: list[ContentType] = []
    permissions: list[Permission] = []

    def make_or_put_back(*args: Any, **kwargs: Any) -> None:
        if content_types:
            ContentType.objects.bulk_create(content_types)
            Permission.objects.bulk_create(permissions)
        else:
            make(*args, **kwargs)
            content_types.extend(ContentType.objects.all())
            permissions.extend(Permission.objects.all())
        ContentType.objects.clear_cache()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.core.management.commands.flush.emit_post_migrate_signal", make_or_put_back)
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With MONITOR_TEST_ROWS_ONLY only the tests that use the database, and start no process that does."""
    if not os.environ.get("MONITOR_TEST_ROWS_ONLY"):
        return
    kept = [item for item in items if DATABASE & (names := _fixtures(item)) and not PROCESSES & names]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def _fixtures(item: pytest.Item) -> set[str]:
    is_marked = item.get_closest_marker("django_db") is not None
    return {*getattr(item, "fixturenames", ()), *(["db"] if is_marked else [])}
