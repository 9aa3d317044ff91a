"""Clustered tables: rows are stored in primary-key order, so that rows which are read together are adjacent."""

from __future__ import annotations

from typing import Any

from django.db import migrations
from django.db.models import CompositePrimaryKey, Field

SQL = "CREATE TABLE %(table)s (%(definition)s)"
Fields = list[tuple[str, "Field[Any, Any]"]]


class CreateClusteredModel(migrations.CreateModel):
    """Creates a table WITHOUT ROWID on SQLite, a plain one elsewhere: PostgreSQL appends in chronological order.

    A later migration that makes SQLite rebuild the table (such as altering a column) must do the same. Adding a
    nullable column does not rebuild it.
    """

    def __init__(self, name: str, fields: Fields, *args: Any, **kwargs: Any) -> None:
        super().__init__(name, key_first(fields), *args, **kwargs)

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor == "sqlite":
            schema_editor.sql_create_table = f"{SQL} WITHOUT ROWID"
        try:
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        finally:
            schema_editor.sql_create_table = SQL


def key_first(fields: Fields) -> Fields:
    # SQLite 3.40 reports a table as corrupt if other columns precede those of the key.
    key = next(field.field_names for _, field in fields if isinstance(field, CompositePrimaryKey))
    places = {column.removesuffix("_id"): place for place, column in enumerate(key)}
    return sorted(fields, key=lambda named: places.get(named[0], len(key)))
