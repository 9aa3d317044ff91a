"""A pytest plugin, loaded before the settings: gives each test process its own temporary data folder.

It also caches slow work that would have the same result in every test.
"""

from __future__ import annotations

import atexit
import base64
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.keyfile import create

DATABASE_FIXTURES = {"db", "transactional_db"}
PROCESS_FIXTURES = {"agent", "box", "installation", "empty_installation", "stack", "web", "page", "live_server"}
folder = tempfile.mkdtemp(prefix="monitor-tests-")
owner = os.getpid()
# Present from the start: without it, the first test that encrypts would query the database.
create(Path(folder) / "secrets.key", base64.urlsafe_b64encode(os.urandom(32)).decode())


@atexit.register
def remove() -> None:
    if os.getpid() == owner:  # not in a forked child
        shutil.rmtree(folder, ignore_errors=True)


# Tests start hundreds of Python processes, which should not compile the whole product each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A shell starts background jobs with SIGINT ignored, and the processes of tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["DATA_DIR"] = folder
os.environ["SECRET_KEY"] = "only-for-tests-" + "x" * 50
os.environ["HOST_NAME"] = "testhost"
os.environ["CACHE_METRICS_SECONDS"] = "0"  # tests share the file, and revisions start again in each test
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
if server := os.environ.get(
    "MONITOR_TEST_DATABASE_URL"
):  # of a PostgreSQL; each process creates its own database there
    os.environ["DATABASE_URL"] = server


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    # More than there are cores: many tests wait for a process, a deadline or the next second.
    cores = os.cpu_count() or 1
    return cores + (cores + 1) // 2


@pytest.fixture(scope="session", autouse=True)
def scan_static_files_once() -> Iterator[None]:
    # Each test client builds its own middleware, and finding the static files took longer than most requests.
    from servestatic.middleware import ServeStaticMiddleware

    scan = ServeStaticMiddleware.add_files_from_finders
    first: list[ServeStaticMiddleware] = []

    def scan_once(middleware: ServeStaticMiddleware) -> None:
        if not first:
            scan(middleware)
            first.append(middleware)
        middleware.files = first[0].files
        middleware.directories = first[0].directories

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServeStaticMiddleware, "add_files_from_finders", scan_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def create_permissions_once() -> Iterator[None]:
    # After a test with transactions, Django flushes all tables and creates these rows model by model in 0.1 s.
    from django.contrib.auth.models import Permission
    from django.contrib.contenttypes.models import ContentType
    from django.core.management.sql import emit_post_migrate_signal as create

    content_types: list[ContentType] = []
    permissions: list[Permission] = []

    def create_or_restore(*args: Any, **kwargs: Any) -> None:
        if content_types:
            ContentType.objects.bulk_create(content_types)
            Permission.objects.bulk_create(permissions)
        else:
            create(*args, **kwargs)
            content_types.extend(ContentType.objects.all())
            permissions.extend(Permission.objects.all())
        ContentType.objects.clear_cache()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.core.management.commands.flush.emit_post_migrate_signal", create_or_restore)
        yield


@pytest.fixture(autouse=True)
def numbers_without_a_commit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction of a test that is rolled back never commits, which would give its rows their numbers."""
    marker = request.node.get_closest_marker("django_db")
    commits = (marker and marker.kwargs.get("transaction")) or "transactional_db" in request.fixturenames
    if not commits:
        from core.models import Sequence

        monkeypatch.setattr(Sequence, "numbers_at_commit", False)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # With MONITOR_TEST_ROWS_ONLY, runs only tests that use the database and start no processes.
    if not os.environ.get("MONITOR_TEST_ROWS_ONLY"):
        return
    kept = [
        item for item in items if DATABASE_FIXTURES & (names := _fixtures(item)) and not PROCESS_FIXTURES & names
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def _fixtures(item: pytest.Item) -> set[str]:
    is_marked = item.get_closest_marker("django_db") is not None
    return {*getattr(item, "fixturenames", ()), *(["db"] if is_marked else [])}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Writes the ids of failed tests to the file in MONITOR_TEST_FAILED, for `.ci/run`."""
    if target := os.environ.get("MONITOR_TEST_FAILED"):
        reports = [*terminalreporter.stats.get("failed", []), *terminalreporter.stats.get("error", [])]
        Path(target).write_text("".join(f"{name}\n" for name in sorted({report.nodeid for report in reports})))
