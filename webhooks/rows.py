"""Statements on many rows, or asked thousands of times a minute. Django would take nine tenths of the time to make
a model object for each and to put the same statement together again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import product
from typing import Any

from django.db import connection, models


def fetch(statement: str, values: Iterable[Any]) -> list[tuple[Any, ...]]:
    """All rows. Moments that are not read straight from a column come as text from SQLite: see `moment`."""
    with connection.cursor() as cursor:
        cursor.execute(statement, _stored([list(values)])[0])
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def change(statement: str, values: Iterable[Any]) -> int:
    """How many rows were changed."""
    with connection.cursor() as cursor:
        cursor.execute(statement, _stored([list(values)])[0])
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


def insert(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    replacing: Sequence[str] = (),
) -> None:
    """Inserts `rows`, whose values stand in the order of `columns`; JSON columns are not for here.

    With `replacing` (a unique key), a row that is there already gets the new values.
    """
    if not rows:
        return
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, columns))
    statement = f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({places(columns)})"  # noqa: S608  (all ours)
    if replacing:
        news = ", ".join(f"{quote(c)} = EXCLUDED.{quote(c)}" for c in columns if c not in replacing)
        statement += f" ON CONFLICT ({', '.join(map(quote, replacing))}) DO UPDATE SET {news}"
    with connection.cursor() as cursor:
        cursor.executemany(statement, _stored(rows))


def _stored(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """With moments as the database takes them. A column holds moments in all rows or, but for NULL, in none."""
    moments = [place for place in range(len(rows[0])) if any(type(row[place]) is datetime for row in rows)]
    stored = connection.ops.adapt_datetimefield_value
    found = [list(row) for row in rows]
    for row, place in product(found, moments):
        row[place] = stored(row[place])
    return found
