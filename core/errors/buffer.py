"""Buffers the errors of this process until they are written to the database. Counts repeated errors."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.util import Finalize

import structlog
from django.db import DatabaseError, InterfaceError, connection, transaction

from core.db_errors import is_outage

from .occurrence import Occurrence, format_traceback, make_occurrence

log = structlog.get_logger(__name__)
MAX_GROUPS = 100
FIRST_WRITE_SECONDS = 0.2  # from the first error to its row
WRITE_INTERVAL = 5.0  # seconds
CLOSE_SECONDS = 1.0
MAX_PROCESS_LENGTH = 40  # of the column


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ErrorBuffer:
    """`record` never raises, never blocks and uses no database. Before `open` it discards errors.

    A thread writes the buffer, or the caller of `write` does inside a transaction. Failed writes are retried.
    """

    def __init__(self, now: Callable[[], datetime] = _utc_now) -> None:
        self._now = now
        self.process = ""
        self._writer: BufferWriter | None = None
        self.reset()
        if hasattr(os, "register_at_fork"):
            # The parent writes what it recorded, and a fork does not copy its threads.
            os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        self._lock = threading.RLock()  # reentrant: a signal handler may log while its thread records an error
        self._pending: dict[str, Occurrence] = {}
        self._in_flight: dict[str, Occurrence] = {}  # being written; kept until the transaction is committed
        self.dropped = 0
        if self._writer is not None:
            self._writer = BufferWriter(self)

    def open(self, process: str) -> None:
        self.process = process[:MAX_PROCESS_LENGTH]
        self._writer = BufferWriter(self)

    def disable_writer_thread(self) -> None:
        """From now on the caller must check `has_pending` regularly and call `write`."""
        self._writer = None

    @property
    def has_pending(self) -> bool:
        return bool(self._pending or self._in_flight)

    def record(self, error: BaseException, place: str = "") -> None:
        if not self.process:
            return
        try:
            self._add_error(make_occurrence(error, self.process, place, self._now()), error)
        except Exception as fault:  # logged without exc_info, which would call this again
            log.warning("errors.not_recorded", error=repr(fault))

    def _add_error(self, occurrence: Occurrence, error: BaseException) -> None:
        if self._pending.get(occurrence.fingerprint) is None:
            occurrence = replace(occurrence, traceback=format_traceback(error))
        with self._lock:
            self._merge(self._pending, occurrence)
        if self._writer is not None:
            self._writer.wake()

    def _merge(self, groups: dict[str, Occurrence], occurrence: Occurrence) -> None:
        earlier = groups.get(occurrence.fingerprint)
        if earlier is None and len(groups) >= MAX_GROUPS:
            self.dropped += occurrence.count
        else:
            groups[occurrence.fingerprint] = occurrence.merged_with(earlier) if earlier else occurrence

    def write(self) -> None:
        """Call it in a transaction; the buffer is cleared when that commits. Raises database errors."""
        from .store import add  # needs the models, and errors may be recorded before Django is set up

        with self._lock:
            for occurrence in self._pending.values():
                self._merge(self._in_flight, occurrence)
            self._pending = {}
            batch = list(self._in_flight.values())
        try:
            for occurrence in batch:
                add(occurrence)
        except (DatabaseError, InterfaceError) as fault:
            if is_outage(fault):
                raise
            # The database would refuse the values again.
            log.warning("errors.refused", error=str(fault), kinds=[occurrence.kind for occurrence in batch])
            self._clear_in_flight()
            raise
        transaction.on_commit(self._clear_in_flight)

    def _clear_in_flight(self) -> None:
        with self._lock:
            self._in_flight = {}
            dropped, self.dropped = self.dropped, 0
        if dropped:
            log.warning("errors.dropped", count=dropped, hint="too many different errors at once")

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        # Time-limited, because an unavailable database must not keep a process from exiting.
        writer = self._writer or (BufferWriter(self) if self.has_pending else None)
        if writer is not None:
            writer.close(seconds)


class BufferWriter:
    """A thread that writes soon after the first error, then at most every WRITE_INTERVAL."""

    def __init__(self, buffer: ErrorBuffer) -> None:
        self._buffer = buffer
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()
        self._woken = threading.Event()
        self._closing = threading.Event()

    def wake(self) -> None:
        self._woken.set()
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                # Unlike atexit, this also runs in workers that multiprocessing forked.
                Finalize(None, self.close, exitpriority=0)
                self._start()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        self._closing.set()
        self._woken.set()
        with self._lock:
            if self._thread is None and self._buffer.has_pending:
                self._start()
        if self._thread is not None:
            self._thread.join(seconds)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="errors", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause = FIRST_WRITE_SECONDS
        while not self._closing.is_set():
            self._woken.wait()
            self._closing.wait(pause)
            self._woken.clear()
            self._write()
            pause = WRITE_INTERVAL
            if self._buffer.has_pending:
                self._woken.set()
        if self._buffer.has_pending:
            self._write()

    def _write(self) -> None:
        try:
            with transaction.atomic():
                self._buffer.write()
        except Exception as error:  # any error: the thread must survive, and must not record its own errors
            log.warning("errors.not_written", error=str(error))
        finally:
            connection.close()
