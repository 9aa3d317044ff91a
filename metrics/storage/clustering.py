"""Tables that are their primary key's index, so that rows which are read together lie together."""

from __future__ import annotations

from typing import Any

from django.db import migrations
from django.db.models import CompositePrimaryKey, Field

SQL = "CREATE TABLE %(table)s (%(definition)s)"
Fields = list[tuple[str, "Field[Any, Any]"]]


class CreateClusteredModel(migrations.CreateModel):
    """On SQLite a table WITHOUT ROWID. Elsewhere a plain one: PostgreSQL appends rows in the order of time anyway.

    A later migration that makes SQLite rebuild the table (altering a column) has to do the same; adding a nullable
    column does not rebuild.
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
    """The key's columns first, in its order: SQLite 3.40 takes a table for damaged where others precede them."""
    key = next(field.field_names for _, field in fields if isinstance(field, CompositePrimaryKey))
    places = {column.removesuffix("_id"): place for place, column in enumerate(key)}
    return sorted(fields, key=lambda named: places.get(named[0], len(key)))
