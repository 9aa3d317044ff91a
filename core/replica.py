"""Reads of history and events from a standby (DATABASE_REPLICA_URL), as long as it can be reached and keeps up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

log = structlog.get_logger(__name__)
T = TypeVar("T")

PRIMARY, REPLICA = "default", "replica"
CHECK_SECONDS = 5.0
AFTER_FAILURE_SECONDS = 10.0
SYSTEM = "(SELECT system_identifier FROM pg_control_system())"
AT_PRIMARY = f"SELECT {SYSTEM}, pg_current_wal_lsn()::text, extract(epoch FROM clock_timestamp())::float8"  # noqa: S608
AT_REPLICA = f"""
SELECT {SYSTEM}, pg_is_in_recovery(), pg_wal_lsn_diff(%s::pg_lsn, pg_last_wal_replay_lsn()),
    extract(epoch FROM pg_last_xact_replay_timestamp())::float8
"""  # noqa: S608


@dataclass(frozen=True)
class ReplicaState:
    """`problem` says why the primary answers; empty while the replica does. `lag_seconds` is None when unknown."""

    lag_seconds: float | None
    problem: str = ""

    @property
    def is_used(self) -> bool:
        return not self.problem


class Router:
    """Within `read`, registered models come from the replica. All else is the primary's."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        return _reading.get() if model in _models else PRIMARY

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        return PRIMARY

    def allow_relation(self, one: models.Model, other: models.Model, **hints: Any) -> bool:
        return True  # the same rows on both

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db != REPLICA


_reading: ContextVar[str] = ContextVar("database_of_reads", default=PRIMARY)
_models: set[type[models.Model]] = set()


def register(*tables: type[models.Model]) -> None:
    """Rows that may be as old as the replica. Rights and definitions may not."""
    _models.update(tables)


def is_configured() -> bool:
    return REPLICA in settings.DATABASES


def read(call: Callable[[], T]) -> T:
    """What `call` reads from the replica, or from the primary if that is better. `call` may run twice."""
    if not is_configured() or not _watch.known().is_used:
        return call()
    token = _reading.set(REPLICA)
    try:
        return call()
    except (OperationalError, InterfaceError) as error:  # gone, or it ended a query that was in its way
        log.warning("replica.query_failed", error=str(error))
        _watch.failed(error)
    finally:
        _reading.reset(token)
    connections[REPLICA].close()
    return call()


def connection_to_read() -> BaseDatabaseWrapper:
    """For SQL within `read`."""
    return connections[_reading.get()]


def state() -> ReplicaState | None:
    """As it is now, or was CHECK_SECONDS ago at most. None without a replica."""
    return _watch.measured() if is_configured() else None


class Watch:
    """What is known of the replica."""

    def __init__(self) -> None:
        self._state = ReplicaState(None, "it was not measured yet")
        self._measure_at = float("-inf")
        self._lock = threading.Lock()
        # No page waits for a replica that does not answer: a thread with connections of its own measures.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="replica")

    def known(self) -> ReplicaState:
        """Without waiting. Has it measured again when that is due."""
        if time.monotonic() >= self._measure_at and self._lock.acquire(blocking=False):
            self._thread.submit(self._measure_aside)
        return self._state

    def measured(self) -> ReplicaState:
        if time.monotonic() >= self._measure_at:
            self._note(measure())
        return self._state

    def failed(self, error: Exception) -> None:
        self._note(ReplicaState(None, str(error).strip()))

    def _measure_aside(self) -> None:
        try:
            close_old_connections()
            self._note(measure())
        finally:
            self._lock.release()

    def _note(self, found: ReplicaState) -> None:
        if found.is_used != self._state.is_used:
            log.info("replica.used" if found.is_used else "replica.not_used", **vars(found))
        self._state = found
        self._measure_at = time.monotonic() + (CHECK_SECONDS if found.is_used else AFTER_FAILURE_SECONDS)


_watch = Watch()


def measure() -> ReplicaState:
    """Asks both servers. The lag is the age of the last commit that the replica has, and 0 if it has them all."""
    try:
        system, position, now = _row(PRIMARY, AT_PRIMARY)
        its_system, is_standby, missing, replayed_at = _row(REPLICA, AT_REPLICA, position)
    except DatabaseError as error:
        connections[REPLICA].close()
        return ReplicaState(None, str(error).strip())
    if not is_standby or its_system != system:
        return ReplicaState(None, "it is not a standby of the database in DATABASE_URL")
    lag = 0.0 if missing <= 0 else max(0.0, now - (replayed_at or 0.0))
    if lag > settings.REPLICA_MAX_LAG_SECONDS:
        return ReplicaState(lag, f"it lags by more than {settings.REPLICA_MAX_LAG_SECONDS:g} s")
    return ReplicaState(lag)


def _row(alias: str, statement: str, *values: Any) -> tuple[Any, ...]:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, values)
        row: tuple[Any, ...] = cursor.fetchone()
        return row
