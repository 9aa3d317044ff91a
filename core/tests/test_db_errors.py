"""Which database errors are worth a retry."""

from __future__ import annotations

import psycopg
import pytest
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
)
from psycopg import errors

from core.db_errors import is_outage


def raised(kind: type[DatabaseError], cause: Exception) -> DatabaseError:
    """An error of PostgreSQL's driver as Django raises it."""
    error = kind()
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("database is locked"),
        InterfaceError("connection already closed"),
        raised(ProgrammingError, errors.UndefinedTable()),
        raised(ProgrammingError, errors.InsufficientPrivilege()),
        raised(InternalError, errors.ReadOnlySqlTransaction()),
    ],
)
def test_an_unavailable_database_is_an_outage(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        raised(DataError, errors.NumericValueOutOfRange()),
        raised(IntegrityError, errors.UniqueViolation()),
        raised(ProgrammingError, psycopg.ProgrammingError("cannot adapt type 'set'")),
        ProgrammingError("Error binding parameter 1: type 'set' is not supported"),
        ValueError("no number"),
    ],
)
def test_rejected_values_are_not_an_outage(error: Exception) -> None:
    assert not is_outage(error)


@pytest.mark.django_db
def test_a_missing_table_is_an_outage() -> None:
    with connection.cursor() as cursor, pytest.raises(DatabaseError) as caught:
        cursor.execute("SELECT 1 FROM not_there")
    assert is_outage(caught.value)
