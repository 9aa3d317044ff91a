"""Raw SQL for many rows and for statements that run thousands of times a minute.

There, Django's ORM would spend nine tenths of the time on model objects and on compiling the same statement again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import product
from typing import Any

from django.db import connection, models


def fetch(statement: str, values: Iterable[Any]) -> list[tuple[Any, ...]]:
    """All rows. SQLite returns computed timestamps as text: pass them through `to_datetime`."""
    with connection.cursor() as cursor:
        cursor.execute(statement, _adapted(values))
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def execute(statement: str, values: Iterable[Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, _adapted(values))
        return int(cursor.rowcount)


def placeholders(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))


def lock_clause(clause: str) -> str:
    """`clause`, such as FOR UPDATE; empty on SQLite, which locks the whole database instead of rows."""
    return clause if connection.features.has_select_for_update else ""


def to_datetime(value: datetime | str) -> datetime:
    # SQLite returns timestamps without a time zone, and as text when they are not read from a column.
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def to_datetime_or_none(value: datetime | str | None) -> datetime | None:
    return None if value is None else to_datetime(value)


def insert(model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """The values of each row are in the order of `columns`. Does not take JSON columns."""
    _execute(_insert_sql(model, columns), _adapted_rows(model, columns, rows))


def upsert(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    key: Sequence[str],
    changes: Mapping[str, str] | None = None,
) -> None:
    """Inserts `rows`, or updates those whose unique `key` exists.

    `changes`: column → SQL for its new value. Without it all other columns take the new row's value.
    """
    quote = connection.ops.quote_name
    if changes is None:
        changes = {name: f"EXCLUDED.{quote(name)}" for name in columns if name not in key}
    sets = ", ".join(f"{quote(name)} = {value}" for name, value in changes.items())
    conflict = f" ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET {sets}"
    _execute(_insert_sql(model, columns) + conflict, _adapted_rows(model, columns, rows))


def _insert_sql(model: type[models.Model], columns: Sequence[str]) -> str:
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, columns))
    return f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({placeholders(columns)})"  # noqa: S608  (names of our models only)


def _execute(statement: str, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)


def _adapted_rows(
    model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> Sequence[Sequence[Any]]:
    times = _timestamp_positions(model, tuple(columns))
    if not times:
        return rows
    adapt = connection.ops.adapt_datetimefield_value
    adapted = [list(row) for row in rows]
    for row, position in product(adapted, times):
        row[position] = adapt(row[position])
    return adapted


@lru_cache
def _timestamp_positions(model: type[models.Model], columns: tuple[str, ...]) -> tuple[int, ...]:
    times = {field.column for field in model._meta.concrete_fields if isinstance(field, models.DateTimeField)}
    return tuple(position for position, name in enumerate(columns) if name in times)


def _adapted(values: Iterable[Any]) -> list[Any]:
    adapt = connection.ops.adapt_datetimefield_value
    return [adapt(value) if type(value) is datetime else value for value in values]
