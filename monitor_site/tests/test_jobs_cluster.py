"""A real cluster whose processes are killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import settings

from monitor_site.jobs.queue import enqueue

from .installation import PATIENCE, Installation, wait_until

PROCESSES = 4 + settings.Q_CLUSTER["workers"]  # watchdog, sentinel, two helpers


class DirectBroker:
    """A broker that inserts jobs directly into the database of an installation."""

    list_key = settings.Q_CLUSTER["name"]

    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    def enqueue(self, payload: str) -> int:
        now = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
        sql = "insert into django_q_ormq (key, payload, lock) values (?, ?, ?)"
        self.installation.query(sql, self.list_key, payload, now)
        return 0


class Jobs:
    """A watchdog in its own process, its cluster and its database."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.watchdog = self.start()

    def start(self) -> psutil.Popen:
        settings_module = os.environ["DJANGO_SETTINGS_MODULE"]
        self.watchdog = self.installation.start(
            "-m", "monitor_site.tests.run_quick_jobs", MONITOR_APPS="lean", DJANGO_SETTINGS_MODULE=settings_module
        )
        return self.watchdog

    def queue(self, function: str, *arguments: Any) -> None:
        enqueue(function, *arguments, broker=DirectBroker(self.installation))

    def run_shell(self, script: str) -> None:
        self.queue("subprocess.call", ["/bin/sh", "-c", script])

    def heartbeats(self) -> set[str]:
        return {at for (at,) in self.installation.query("select at from core_heartbeat where name = 'jobs'")}

    def await_new_heartbeat(self, seconds: float = PATIENCE) -> None:
        before = self.heartbeats()
        wait_until(lambda: self.heartbeats() - before, seconds)

    def replaced(self) -> list[str]:
        rows = self.installation.query("select data from core_auditentry where action = 'jobs.replaced'")
        return [data for (data,) in rows]

    def main(self) -> psutil.Process:
        return wait_until(self.watchdog.children)[0]

    def workers(self) -> list[psutil.Process]:
        """django-q2 starts its workers first, then the two helpers."""
        return sorted(self.main().children(), key=lambda process: process.pid)[: settings.Q_CLUSTER["workers"]]


@pytest.fixture
def jobs(installation: Installation) -> Jobs:
    running = Jobs(installation)
    running.await_new_heartbeat()
    return running


def test_a_cluster_is_replaced_when_a_killed_worker_held_the_queue_lock(jobs: Jobs) -> None:
    for worker in jobs.workers():  # an idle one holds the lock of the queue, which nobody can release now
        worker.kill()
    wait_until(jobs.replaced)
    assert "no job has finished for 8 s" in jobs.replaced()[0]
    jobs.await_new_heartbeat()
    assert len(jobs.installation.processes()) == PROCESSES


def test_jobs_queued_while_the_cluster_hung_run_in_the_next_one(jobs: Jobs, tmp_path: Path) -> None:
    for worker in jobs.workers():
        worker.kill()
    for number in range(4):
        jobs.queue("os.mkdir", str(tmp_path / f"done-{number}"))
    wait_until(lambda: len(list(tmp_path.glob("done-*"))) == 4)
    assert len(jobs.replaced()) == 1


def test_a_cluster_whose_sentinel_was_killed_is_replaced_at_once(jobs: Jobs) -> None:
    jobs.main().kill()
    wait_until(jobs.replaced)
    assert "the cluster exited with signal SIGKILL" in jobs.replaced()[0]
    jobs.await_new_heartbeat()
    assert len(jobs.installation.processes()) == PROCESSES


def test_a_terminated_worker_is_replaced(jobs: Jobs) -> None:
    """django-q2 terminates the worker of a job that exceeds its timeout."""
    worker = jobs.workers()[0]
    worker.terminate()
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    wait_until(lambda: len(jobs.main().children()) == PROCESSES - 2 and worker not in jobs.main().children())


def test_a_running_job_can_finish_during_a_stop(jobs: Jobs, tmp_path: Path) -> None:
    jobs.run_shell(f"touch {tmp_path}/begun; sleep 0.5; touch {tmp_path}/ended")
    wait_until((tmp_path / "begun").exists)
    jobs.watchdog.terminate()
    assert jobs.watchdog.wait(PATIENCE) == 0
    assert (tmp_path / "ended").exists()
    assert jobs.installation.query("select success from django_q_task where func = 'subprocess.call'") == [(1,)]
    assert jobs.installation.processes() == []


def test_a_job_killed_during_a_stop_stays_in_the_queue(jobs: Jobs, tmp_path: Path) -> None:
    jobs.run_shell(f"touch {tmp_path}/begun; sleep 300")
    wait_until((tmp_path / "begun").exists)
    began = time.monotonic()
    jobs.watchdog.terminate()
    assert jobs.watchdog.wait(PATIENCE) == 0
    assert time.monotonic() - began < 40
    assert jobs.installation.processes() == []
    assert jobs.installation.query("select count(*) from django_q_ormq") == [(1,)]


def test_a_cluster_stops_when_its_watchdog_is_killed(jobs: Jobs) -> None:
    jobs.watchdog.kill()
    wait_until(lambda: jobs.installation.processes() == [])
    assert jobs.replaced() == []


def test_a_hung_cluster_stops_when_its_watchdog_is_killed(jobs: Jobs) -> None:
    for worker in jobs.workers():
        worker.kill()
    jobs.watchdog.kill()
    wait_until(lambda: jobs.installation.processes() == [])
    assert jobs.watchdog.wait(PATIENCE) == -signal.SIGKILL


def test_leftovers_are_killed_before_a_new_cluster_starts(jobs: Jobs) -> None:
    left = jobs.main().children()
    jobs.main().suspend()  # so that it cannot stop by itself
    jobs.watchdog.kill()
    jobs.start()
    jobs.await_new_heartbeat()
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in left)
    assert len(jobs.installation.processes()) == PROCESSES


def name_of(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def test_a_process_that_a_job_started_in_its_own_session_is_killed(jobs: Jobs) -> None:
    daemon = "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True)"
    jobs.queue("subprocess.call", [sys.executable, "-c", daemon])
    wait_until(lambda: any(name_of(process) == "sleep" for process in jobs.installation.processes()))
    jobs.watchdog.terminate()
    assert jobs.watchdog.wait(PATIENCE) == 0
    assert jobs.installation.processes() == []


def test_a_second_jobs_command_on_the_same_data_fails(jobs: Jobs) -> None:
    done = jobs.installation.run("jobs")
    assert done.returncode == 1
    assert "another `jobs` is running" in done.stderr
    assert len(jobs.workers()) == settings.Q_CLUSTER["workers"]


def test_the_command_marks_its_processes_and_stops_on_a_signal(installation: Installation) -> None:
    process = installation.start("manage.py", "jobs")
    wait_until(lambda: len(installation.processes()) == PROCESSES)
    assert all("MONITOR_JOBS" in each.environ() for each in installation.processes())
    assert process.cmdline()[0] == sys.executable
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert installation.processes() == []
