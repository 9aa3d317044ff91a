from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core.tests.servers import postgresql, programs_of_postgresql
from monitor_site.environment import BASE_DIR

from .installation import Installation, wait_until

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and programs_of_postgresql() is None, reason="no PostgreSQL on this machine"
)


def python(installation: Installation, *arguments: str, **environment: str) -> str:
    settings = {"DJANGO_SETTINGS_MODULE": "monitor_site.settings"}
    done = subprocess.run(
        [sys.executable, "-m", "monitor_site.tests.run_every_table", *arguments],
        cwd=BASE_DIR,
        env=installation.environment | settings | environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout.strip()


def rows(installation: Installation, **environment: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(python(installation, "print", **environment))
    return found


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Installation, str]:
    """An installation on SQLite with rows in every table, and a token."""
    installation = Installation(tmp_path_factory.mktemp("filled") / "data")
    installation.environment["DATABASE_URL"] = ""
    installation.run("migrate").check_returncode()
    return installation, python(installation, "fill")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture
def target(server: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database."""
    name = f"t{abs(hash(request.node.name))}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server.rpartition('/')[0]}/{name}"


def test_everything_moves_to_postgresql_and_back(
    filled: tuple[Installation, str], target: str, tmp_path: Path
) -> None:
    here, token = filled
    before = rows(here)
    done = here.run("copy_database", target)
    assert done.returncode == 0, done.stderr
    assert "programs_programevent: 2 values had NUL characters or were too long" in done.stderr
    assert "Set DATABASE_URL" in done.stderr
    assert rows(here) == before
    there = rows(here, DATABASE_URL=target)
    assert differing(before, there) == {"programs_programevent"}
    assert len(there["programs_programevent"]) == len(before["programs_programevent"])
    back = f"sqlite:///{tmp_path / 'back.sqlite3'}"
    done = here.run("copy_database", DATABASE_URL=target, TARGET_DATABASE_URL=back)
    assert done.returncode == 0, done.stderr
    assert differing(there, rows(here, DATABASE_URL=back)) == set()
    assert (tmp_path / "back.sqlite3").stat().st_mode & 0o077 == 0
    for url in (target, back):
        assert python(here, "use", token, DATABASE_URL=url) == "done"


def differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    assert one.keys() == other.keys()
    return {table for table in one if one[table] != other[table]}


def test_a_target_with_rows_is_refused_and_stays_as_it_is(filled: tuple[Installation, str], target: str) -> None:
    here, _ = filled
    here.run("migrate", DATABASE_URL=target).check_returncode()
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("INSERT INTO core_heartbeat (name, at) VALUES ('jobs', now())")
        done = here.run("copy_database", target)
        assert (done.returncode, done.stderr.strip()) == (
            1,
            "CommandError: The target is not empty: there are rows in core_heartbeat.",
        )
        assert connection.execute("SELECT count(*) FROM programs_program").fetchone() == (0,)


def test_the_database_of_something_else_is_refused_before_it_is_migrated(
    filled: tuple[Installation, str], target: str
) -> None:
    here, _ = filled
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("CREATE TABLE invoices (id int)")
        done = here.run("copy_database", target)
        assert "it has a table invoices" in done.stderr
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert found.fetchone() == (1,)


def test_a_copy_that_was_killed_can_be_repeated(filled: tuple[Installation, str], target: str) -> None:
    here, _ = filled
    # A lock of somebody else holds the copy up near its end.
    with psycopg.connect(target) as other:
        here.run("migrate", DATABASE_URL=target).check_returncode()
        other.execute("LOCK TABLE webhooks_webhookmute IN ACCESS EXCLUSIVE MODE")
        process = here.start("manage.py", "copy_database", target)
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with psycopg.connect(target, autocommit=True) as watching:
            wait_until(lambda: watching.execute(waiting).fetchone())
        process.send_signal(signal.SIGKILL)
        process.wait()
    with psycopg.connect(target, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM programs_program").fetchone() == (0,)
    done = here.run("copy_database", target)
    assert done.returncode == 0, done.stderr


def test_nothing_is_copied_while_the_monitor_runs(empty_installation: Installation, target: str) -> None:
    empty_installation.start("manage.py", "serve", "--bind", "127.0.0.1:0")
    wait_until(lambda: "Ctrl-C" in empty_installation.printed())
    done = empty_installation.run("copy_database", target)
    assert done.returncode == 1
    assert "Stop the monitor first: another `serve` is running" in done.stderr
    empty_installation.end_processes()


@pytest.mark.parametrize("url", ["mysql://x/y", ""])
def test_an_address_that_is_none_is_refused_in_a_sentence(filled: tuple[Installation, str], url: str) -> None:
    done = filled[0].run("copy_database", url)
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: ")
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_told_in_a_sentence(filled: tuple[Installation, str]) -> None:
    done = filled[0].run("copy_database", "postgres://monitor@127.0.0.1:1/monitor")
    assert done.stderr.startswith("CommandError: Nothing was copied. connection")
