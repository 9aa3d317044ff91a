"""Real processes store their errors in the database."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import Any

from monitor_site.jobs.queue import enqueue

from .installation import Installation, wait_until
from .test_jobs_cluster import DirectBroker

COLUMNS = "kind, culprit, process, place, message, count"


def groups(installation: Installation, kind: str) -> list[Any]:
    return installation.query(f"select {COLUMNS} from core_errorgroup where kind = ?", kind)


def start_lean(installation: Installation, module: str) -> None:
    module_of_settings = os.environ["DJANGO_SETTINGS_MODULE"]
    installation.start("-m", module, MONITOR_APPS="lean", DJANGO_SETTINGS_MODULE=module_of_settings)


def test_a_failing_command_stores_its_error_and_prints_the_traceback(installation: Installation) -> None:
    done = installation.run("shell", "--verbosity=0", "--command", "from core.ids import *; time_ordered_id(1/0)")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert [group[0::2] for group in groups(installation, "ZeroDivisionError")] == [
        ("ZeroDivisionError", "shell", "division by zero")
    ]


def test_a_command_that_exits_with_a_message_stores_no_error(installation: Installation) -> None:
    assert installation.run("restore", "/nowhere").returncode == 1
    assert installation.query("select count(*) from core_errorgroup") == [(0,)]


def test_a_failing_command_does_not_wait_for_a_locked_database(installation: Installation) -> None:
    with closing(sqlite3.connect(installation.database, isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        done = installation.run("shell", "--verbosity=0", "--command", "1/0")  # exits before the lock is released
        lock.execute("ROLLBACK")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_a_failing_job_stores_its_error_with_the_jobs_name(installation: Installation) -> None:
    start_lean(installation, "monitor_site.tests.run_quick_jobs")
    for _ in range(3):
        enqueue("json.loads", "{", broker=DirectBroker(installation))
    kind = "json.decoder.JSONDecodeError"
    wait_until(lambda: [count for *_, count in groups(installation, kind)] == [3])
    [(_, culprit, process, place, message, _)] = groups(installation, kind)
    assert (process, place) == ("jobs", "job json.loads")
    assert "JSONDecoder" in culprit
    assert "Expecting property name" in message


def test_the_agents_writer_stores_the_errors_of_its_services(installation: Installation) -> None:
    start_lean(installation, "monitor_site.tests.run_failing_agent")
    wait_until(lambda: [group for group in groups(installation, "LookupError") if group[-1] >= 3])
    [group] = groups(installation, "LookupError")
    assert group[1:5] == ("monitor_site.agent._keep_running", "agent", "service faulty", "nothing to be found")
