"""Statements on many rows, or asked thousands of times a minute. Django would take nine tenths of the time to make
a model object for each and to put the same statement together again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import product
from typing import Any

from django.db import connection, models


def fetch(statement: str, values: Iterable[Any]) -> list[tuple[Any, ...]]:
    """All rows. Moments that are not read straight from a column come as text from SQLite: see `moment`."""
    with connection.cursor() as cursor:
        cursor.execute(statement, _stored(values))
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def change(statement: str, values: Iterable[Any]) -> int:
    """How many rows were changed."""
    with connection.cursor() as cursor:
        cursor.execute(statement, _stored(values))
        return int(cursor.rowcount)


def places(values: Sequence[Any]) -> str:
    """What stands between the brackets of IN."""
    return ", ".join(["%s"] * len(values))


def locking(clause: str) -> str:
    """`clause`, such as FOR UPDATE, where the database locks rows; SQLite locks itself as a whole."""
    return clause if connection.features.has_select_for_update else ""


def moment(value: datetime | str) -> datetime:
    """SQLite gives moments back in UTC without saying so, and as text when they are not read from a column."""
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def moment_or_none(value: datetime | str | None) -> datetime | None:
    return None if value is None else moment(value)


def insert(model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Inserts `rows`, whose values are in the order of `columns`. Takes no JSON columns."""
    _execute(_insert_sql(model, columns), _stored_rows(model, columns, rows))


def upsert(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    key: Sequence[str],
    changes: Mapping[str, str] | None = None,
) -> None:
    """Inserts `rows`, or changes those whose unique `key` exists already.

    `changes` maps a column to SQL for its new value; without it every other column takes the new row's value.
    """
    quote = connection.ops.quote_name
    if changes is None:
        changes = {name: f"EXCLUDED.{quote(name)}" for name in columns if name not in key}
    sets = ", ".join(f"{quote(name)} = {value}" for name, value in changes.items())
    conflict = f" ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET {sets}"
    _execute(_insert_sql(model, columns) + conflict, _stored_rows(model, columns, rows))


def _insert_sql(model: type[models.Model], columns: Sequence[str]) -> str:
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, columns))
    return f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({places(columns)})"  # noqa: S608  (all ours)


def _execute(statement: str, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)


def _stored_rows(
    model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> Sequence[Sequence[Any]]:
    """`rows` with their timestamps as the database takes them. Rows without any are passed on as they are."""
    times = _time_places(model, tuple(columns))
    if not times:
        return rows
    stored = connection.ops.adapt_datetimefield_value
    found = [list(row) for row in rows]
    for row, place in product(found, times):
        row[place] = stored(row[place])
    return found


@lru_cache
def _time_places(model: type[models.Model], columns: tuple[str, ...]) -> tuple[int, ...]:
    times = {field.column for field in model._meta.concrete_fields if isinstance(field, models.DateTimeField)}
    return tuple(place for place, name in enumerate(columns) if name in times)


def _stored(values: Iterable[Any]) -> list[Any]:
    stored = connection.ops.adapt_datetimefield_value
    return [stored(value) if type(value) is datetime else value for value in values]
