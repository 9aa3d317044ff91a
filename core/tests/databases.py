"""The database of the running test, for other processes that use or lock it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
from django.apps import apps
from django.db import connection

BUSY = (sqlite3.OperationalError, psycopg.OperationalError)


def url_of_this_database() -> str:
    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{given['NAME']}"
    return f"postgres://{given['USER']}:{given['PASSWORD']}@{given['HOST']}:{given['PORT']}/{given['NAME']}"


class Other:
    """A second connection outside of Django, for any thread. Each statement is a transaction, except while locked.

    A statement that other writers block for `timeout` seconds raises one of BUSY.
    """

    def __init__(self, timeout: float) -> None:
        if connection.vendor == "sqlite":
            name = connection.settings_dict["NAME"]
            self._connection: Any = sqlite3.connect(name, timeout, isolation_level=None, check_same_thread=False)
            self._lock = ["BEGIN IMMEDIATE"]
        else:
            self._connection = psycopg.connect(url_of_this_database(), autocommit=True)
            self.execute(f"SET lock_timeout = '{timeout}s'")
            tables = ", ".join(model._meta.db_table for model in apps.get_models() if model._meta.managed)
            self._lock = ["BEGIN", f"LOCK TABLE {tables} IN EXCLUSIVE MODE"]

    def execute(self, sql: str) -> Any:
        return self._connection.execute(sql)

    def lock(self) -> None:
        """Blocks all other writers until `unlock`."""
        for statement in self._lock:
            self.execute(statement)

    def unlock(self) -> None:
        self.execute("ROLLBACK")

    def rename(self, table: str, name: str) -> None:
        self.execute(f"ALTER TABLE {table} RENAME TO {name}")

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def other_connection(timeout: float = 20) -> Iterator[Other]:
    other = Other(timeout)
    try:
        yield other
    finally:
        other.close()


@contextlib.contextmanager
def locked_database() -> Iterator[None]:
    """Blocks all writers inside the block."""
    with other_connection() as other:
        other.lock()
        yield
