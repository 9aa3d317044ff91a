"""django-q2's cluster as one unit that can be started, drained and killed with everything it forked."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import select
import signal
import uuid
from collections.abc import Callable
from multiprocessing.sharedctypes import RawValue
from typing import Any

import structlog
from django.db import connections
from django_q import worker
from django_q.cluster import Sentinel
from django_q.signals import post_execute, post_execute_in_worker, pre_execute
from structlog.contextvars import bind_contextvars, unbind_contextvars

from monitor_site.serving import parent_watch, platform

from . import marker

log = structlog.get_logger(__name__)
FORKING = multiprocessing.get_context("fork")  # as django-q2 does: the processes share most memory


class SignalSafeEvent:
    """An event for django-q2 that a signal handler may set.

    A multiprocessing.Event has a lock: a handler could wait for the thread that it interrupted.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._is_set = False

    def set(self, *signal_and_frame: Any) -> None:
        if not self._is_set:
            self._is_set = True
            os.write(self._writer, b".")

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float) -> bool:
        select.select([self._reader], [], [], seconds)
        return self._is_set


def _run_sentinel() -> None:
    # Runs django-q2's sentinel in this process; its own `Cluster` would take another one, 8 MB more.
    stop = SignalSafeEvent()
    untyped: Any = Sentinel
    sentinel = untyped(stop, SignalSafeEvent(), uuid.uuid4(), start=False)
    signal.signal(signal.SIGTERM, stop.set)
    os.register_at_fork(after_in_child=_restore_sigterm)  # the sentinel terminates workers that take too long
    sentinel.start()


def _restore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class RunningCluster:
    """Starts when created, in its own session, so that one signal reaches all of its processes and no others.

    `finished_jobs` counts the jobs whose result is stored. The counter is in shared memory and without a lock,
    which a killed process could leave locked; only django-q2's "monitor" process writes it.
    """

    def __init__(self, *, grace_seconds: float, after_fork: Callable[[], None]) -> None:
        """`after_fork` runs first in the new process and closes what only the watchdog may hold.

        When the watchdog is killed, the cluster gets `grace_seconds` to finish its jobs and then kills itself.
        """
        self._finished_jobs = RawValue(ctypes.c_ulonglong, 0)
        connections.close_all()  # two processes must not use one connection
        gc.collect()
        gc.freeze()  # otherwise the collector writes to, and so copies, every shared memory page
        reader, self._parent_pipe = os.pipe()
        self._process = FORKING.Process(target=self._run, args=(reader, grace_seconds, after_fork), name="cluster")
        self._process.start()
        os.close(reader)

    def _run(self, reader: int, grace_seconds: float, after_fork: Callable[[], None]) -> None:
        os.setsid()
        after_fork()
        os.close(self._parent_pipe)
        parent_watch.watch(reader, grace_seconds=grace_seconds, on_timeout=_kill_session)
        post_execute.connect(self._count, weak=False)
        _run_sentinel()

    def _count(self, **kwargs: Any) -> None:
        self._finished_jobs.value += 1

    @property
    def finished_jobs(self) -> int:
        count: int = self._finished_jobs.value
        return count

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.exitcode

    def request_stop(self) -> None:
        # Signals only the main process, which lets running jobs finish; workers would lose their jobs.
        if self.exit_code is None:
            self._process.terminate()

    def kill(self) -> None:
        if self._process.pid is not None:
            platform.kill_group(self._process.pid)
        self._process.kill()  # it may not have called setsid yet
        self._process.join()
        self._process.close()
        os.close(self._parent_pipe)
        marker.kill_leftovers()


def _kill_session() -> None:
    platform.kill_group(os.getpid())


# --- Logs -----------------------------------------------------------------------------------------------


class JobFailures:
    """An error reporter of django-q2, which otherwise finds reporters only by entry points of packages."""

    def report(self) -> None:
        log.exception("jobs.failed")


def report_jobs() -> None:
    """Logs failed jobs and adds the job's name to every log line of a worker. Call it once before workers fork."""
    module: Any = worker
    module.error_reporter = JobFailures()
    pre_execute.connect(_bind_job, dispatch_uid="log")
    post_execute_in_worker.connect(_unbind_job, dispatch_uid="log")


def _bind_job(func: Callable[..., Any] | None, task: dict[str, Any], **kwargs: Any) -> None:
    bind_contextvars(job=str(task["func"]) if func is None else f"{func.__module__}.{func.__qualname__}")


def _unbind_job(**kwargs: Any) -> None:
    unbind_contextvars("job")
