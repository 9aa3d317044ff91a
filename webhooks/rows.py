"""Many rows in one statement, without a model object for each: where thousands go through, it counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, models


def insert(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    replacing: Sequence[str] = (),
) -> None:
    """Inserts `rows`, whose values stand in the order of `columns`; JSON columns are not for here.

    With `replacing` (a unique key), a row that is there already gets the new values.
    """
    quote = connection.ops.quote_name
    names, places = ", ".join(map(quote, columns)), ", ".join(["%s"] * len(columns))
    statement = f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({places})"  # noqa: S608  (all ours)
    if replacing:
        news = ", ".join(f"{quote(c)} = EXCLUDED.{quote(c)}" for c in columns if c not in replacing)
        statement += f" ON CONFLICT ({', '.join(map(quote, replacing))}) DO UPDATE SET {news}"
    with connection.cursor() as cursor:
        cursor.executemany(statement, [tuple(map(_stored, row)) for row in rows])


def _stored(value: Any) -> Any:
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value
