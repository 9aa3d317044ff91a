"""What a driver says, and whether it is worth trying again."""

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
    """As Django hands on what PostgreSQL's driver says."""
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
def test_a_database_that_is_away_or_not_itself_may_come_back(error: Exception) -> None:
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
def test_values_that_no_database_takes_stay_wrong(error: Exception) -> None:
    assert not is_outage(error)


@pytest.mark.django_db
def test_a_missing_table_is_an_outage_on_the_database_in_use() -> None:
    with connection.cursor() as cursor, pytest.raises(DatabaseError) as caught:
        cursor.execute("SELECT 1 FROM not_there")
    assert is_outage(caught.value)
