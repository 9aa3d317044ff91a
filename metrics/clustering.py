"""Tables that are their primary key's index, so that rows which are read together lie together."""

from __future__ import annotations

from typing import Any

from django.db import migrations

SQL = "CREATE TABLE %(table)s (%(definition)s)"


class CreateClusteredModel(migrations.CreateModel):
    """On SQLite a table WITHOUT ROWID. Elsewhere a plain one: PostgreSQL appends rows in the order of time anyway.

    A later migration that makes SQLite rebuild the table (altering a column) has to do the same; adding a nullable
    column does not rebuild.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor == "sqlite":
            schema_editor.sql_create_table = f"{SQL} WITHOUT ROWID"
        try:
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        finally:
            schema_editor.sql_create_table = SQL
