"""The errors of this process that the database does not have yet: of an error storm, a number."""

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

from .occurrence import Occurrence, sighted, traceback_of

log = structlog.get_logger(__name__)
MOST_GROUPS = 100
SOON_SECONDS = 0.2  # from the first error to its row
PAUSE_SECONDS = 5.0  # between two writings
CLOSE_SECONDS = 1.0
LONGEST_PROCESS = 40  # its column


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ErrorBuffer:
    """`note` never raises, waits for nothing and touches no database. Until `open` it keeps nothing.

    Written by a thread, or by whoever calls `write` in a transaction; what failed to be written is kept.
    """

    def __init__(self, now: Callable[[], datetime] = _utc_now) -> None:
        self._now = now
        self.process = ""
        self._writer: Writer | None = None
        self.begin_anew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.begin_anew)

    def begin_anew(self) -> None:
        """Also after a fork: what the parent noted is the parent's to write, and threads stay with it."""
        self._lock = threading.RLock()  # a signal handler may log while its own thread notes an error
        self._waiting: dict[str, Occurrence] = {}
        self._in_hand: dict[str, Occurrence] = {}
        self.dropped = 0
        if self._writer is not None:
            self._writer = Writer(self)

    def open(self, process: str) -> None:
        """From now on errors are kept, and a thread writes them."""
        self.process = process[:LONGEST_PROCESS]
        self._writer = Writer(self)

    def leave_writing_to_others(self) -> None:
        """No thread: the caller looks at `is_waiting` now and then, and has `write` called."""
        self._writer = None

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting or self._in_hand)

    def note(self, error: BaseException, place: str = "") -> None:
        if not self.process:
            return
        try:
            self._keep(sighted(error, self.process, place, self._now()), error)
        except Exception as fault:  # told without its traceback: with it, this would be called again
            log.warning("errors.not_noted", error=repr(fault))

    def _keep(self, seen: Occurrence, error: BaseException) -> None:
        earlier = self._waiting.get(seen.fingerprint)
        if earlier is None:
            seen = replace(seen, traceback=traceback_of(error))
        with self._lock:
            self._add(self._waiting, seen)
        if self._writer is not None:
            self._writer.wake()

    def _add(self, groups: dict[str, Occurrence], seen: Occurrence) -> None:
        earlier = groups.get(seen.fingerprint)
        if earlier is None and len(groups) >= MOST_GROUPS:
            self.dropped += seen.count
        else:
            groups[seen.fingerprint] = seen.with_earlier(earlier) if earlier else seen

    def write(self) -> None:
        """In the caller's transaction; forgotten once that is committed. Raises what the database raises."""
        from .store import add  # the models are there once Django is set up; errors may be noted before

        with self._lock:
            for seen in self._waiting.values():
                self._add(self._in_hand, seen)
            self._waiting = {}
            batch = list(self._in_hand.values())
        try:
            for seen in batch:
                add(seen)
        except (DatabaseError, InterfaceError) as fault:
            if is_outage(fault):
                raise
            # It would be refused the next time as well.
            log.warning("errors.refused", error=str(fault), kinds=[seen.kind for seen in batch])
            self._forget()
            raise
        transaction.on_commit(self._forget)

    def _forget(self) -> None:
        with self._lock:
            self._in_hand = {}
            dropped, self.dropped = self.dropped, 0
        if dropped:
            log.warning("errors.dropped", count=dropped, hint="too many kinds of error at once")

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """A last try, for up to `seconds`: a database that is away must not keep a process from ending."""
        writer = self._writer or (Writer(self) if self.is_waiting else None)
        if writer is not None:
            writer.close(seconds)


class Writer:
    """Writes soon after the first error, then at most every few seconds."""

    def __init__(self, ledger: ErrorBuffer) -> None:
        self._ledger = ledger
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()
        self._woken = threading.Event()
        self._closing = threading.Event()

    def wake(self) -> None:
        self._woken.set()
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                # Runs when the process ends, also in a worker that multiprocessing forked.
                Finalize(None, self.close, exitpriority=0)
                self._start()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        self._closing.set()
        self._woken.set()
        with self._lock:
            if self._thread is None and self._ledger.is_waiting:
                self._start()
        if self._thread is not None:
            self._thread.join(seconds)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="errors", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause = SOON_SECONDS
        while not self._closing.is_set():
            self._woken.wait()
            self._closing.wait(pause)
            self._woken.clear()
            self._write()
            pause = PAUSE_SECONDS
            if self._ledger.is_waiting:
                self._woken.set()
        if self._ledger.is_waiting:
            self._write()

    def _write(self) -> None:
        try:
            with transaction.atomic():
                self._ledger.write()
        except Exception as error:  # of whatever kind: this thread has to live on, and logs no error of its own
            log.warning("errors.not_written", error=str(error))
        finally:
            connection.close()
