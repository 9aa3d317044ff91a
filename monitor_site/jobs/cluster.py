"""django-q2's cluster as one thing that can be started, asked to finish, and ended with everything it forked."""

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

from django.db import connections
from django_q.cluster import Sentinel
from django_q.signals import post_execute

from monitor_site.serving import parent_watch, platform

from . import marker

FORKING = multiprocessing.get_context("fork")  # django-q2's own choice too; the processes share most memory


class Flag:
    """What django-q2 takes for an event, and a signal handler may set.

    An event of multiprocessing has a lock, and the handler would wait for the thread it interrupted to release it.
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


def _work_until_asked_to_stop() -> None:
    """django-q2's sentinel in this process. Its own `Cluster` would wait for it in one more: 8 MB."""
    stop = Flag()
    untyped: Any = Sentinel
    sentinel = untyped(stop, Flag(), uuid.uuid4(), start=False)
    signal.signal(signal.SIGTERM, stop.set)
    os.register_at_fork(after_in_child=_end_at_sigterm)  # workers that take too long are ended with it
    sentinel.start()


def _end_at_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class RunningCluster:
    """A cluster in a session of its own, so that one signal reaches all of it and nothing else.

    Made is started. `finished` counts the jobs it has seen through to the end: fetched, done, result stored, taken
    off the queue. The counter lives in memory shared with its processes; one of them alone writes it (django-q2's
    "monitor"), without a lock that it could take along when killed.
    """

    def __init__(self, *, grace_seconds: float, after_fork: Callable[[], None]) -> None:
        """`after_fork` runs first in the new process: it lets go of what belongs to the guard alone.

        When the guard is killed, the cluster finishes its jobs for up to `grace_seconds` and then ends itself.
        """
        self._finished = RawValue(ctypes.c_ulonglong, 0)
        connections.close_all()  # a connection must not be used on both sides of a fork
        gc.collect()
        gc.freeze()  # or the collector would touch, and so copy, every page the processes share
        reader, self._lifeline = os.pipe()
        self._process = FORKING.Process(target=self._run, args=(reader, grace_seconds, after_fork), name="cluster")
        self._process.start()
        os.close(reader)

    def _run(self, reader: int, grace_seconds: float, after_fork: Callable[[], None]) -> None:
        os.setsid()
        after_fork()
        os.close(self._lifeline)
        parent_watch.hold(reader, grace_seconds=grace_seconds, last_resort=_end_session)
        post_execute.connect(self._count, weak=False)
        _work_until_asked_to_stop()

    def _count(self, **kwargs: Any) -> None:
        self._finished.value += 1

    @property
    def finished(self) -> int:
        count: int = self._finished.value
        return count

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.exitcode

    def ask_to_stop(self) -> None:
        """The main process alone: it lets running jobs finish. A signal to its workers would lose their jobs."""
        if self.exit_code is None:
            self._process.terminate()

    def end(self) -> None:
        """Ends every process of it now, also what its jobs started in sessions of their own."""
        if self._process.pid is not None:
            platform.kill_group(self._process.pid)
        self._process.kill()  # it may not have come to make its own group yet
        self._process.join()
        self._process.close()
        os.close(self._lifeline)
        marker.end_leftovers()


def _end_session() -> None:
    platform.kill_group(os.getpid())
