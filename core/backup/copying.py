"""Copies the whole database into an empty one of either kind, in one transaction of the target.

An interruption therefore leaves the target empty, and the copy can be repeated.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.apps import apps
from django.core.management.color import no_style
from django.db import DatabaseError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from core.locks import HeldError, hold
from core.models import AuditEntry

from .archive import BackupError
from .restore import LOCKS, migrate

SOURCE, TARGET = "default", "copy_target"
BATCH = 1000
# Made by Django (and the cache's command), filled again by the target itself.
NOT_COPIED = {"django_migrations", "monitor_cache", "sqlite_sequence"}
MADE_BY_MIGRATIONS = {
    "django_content_type", "auth_permission", "auth_group", "auth_group_permissions",
}  # fmt: skip
Row = Sequence[Any]
Report = Callable[[str, int], None]


@dataclass
class Copied:
    """`changed` counts values that PostgreSQL cannot hold as they were: NUL characters, texts too long."""

    tables: int = 0
    rows: int = 0
    changed: dict[str, int] = field(default_factory=dict)


def copy_database(
    config: dict[str, Any], url: str, *, actor: str, report: Report = lambda table, rows: None
) -> Copied:
    """Copies everything to the database of `config`, whose address is `url`, which must be empty.

    Raises BackupError, with the target as it was but for the empty tables.
    """
    connections.settings[TARGET] = connections.configure_settings({"default": config})["default"]
    try:
        with contextlib.ExitStack() as stack:
            for name in LOCKS:
                stack.enter_context(hold(name))
            _refuse_old_source()
            _refuse_used_target()
            if problem := migrate(DATABASE_URL=url, DATABASE_REPLICA_URL=""):
                raise BackupError(f"The target could not be migrated: {problem}")
            return _copy(actor, report)
    except HeldError as error:
        raise BackupError(f"Stop the monitor first: {error}.") from error
    except DatabaseError as error:
        raise BackupError(f"Nothing was copied. {error}") from error
    finally:
        connections[TARGET].close()
        del connections[TARGET], connections.settings[TARGET]


def tables() -> list[type[models.Model]]:
    """One model for each table, in the order of the apps."""
    found = apps.get_models(include_auto_created=True)
    return [model for model in found if model._meta.managed and not model._meta.proxy]


def _refuse_old_source() -> None:
    executor = MigrationExecutor(connections[SOURCE])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise BackupError("This database is not of this version yet. Run: manage.py migrate")


def _refuse_used_target() -> None:
    target = connections[TARGET]
    ours = {model._meta.db_table for model in tables()}
    with target.cursor() as cursor:
        present = set(target.introspection.table_names(cursor))
        if foreign := present - ours - NOT_COPIED:
            raise BackupError(f"The target is not empty: it has a table {min(foreign)}.")
        for table in sorted(present & ours - MADE_BY_MIGRATIONS):
            cursor.execute(f"SELECT 1 FROM {target.ops.quote_name(table)} LIMIT 1")  # noqa: S608
            if cursor.fetchone():
                raise BackupError(f"The target is not empty: there are rows in {table}.")


def _copy(actor: str, report: Report) -> Copied:
    copied = Copied()
    with _reading(connections[SOURCE]), transaction.atomic(using=TARGET):
        _keep_session(connections[TARGET])
        with connections[TARGET].cursor() as cursor:
            for table in MADE_BY_MIGRATIONS:  # their rows come with the ids of the source
                cursor.execute(f"DELETE FROM {connections[TARGET].ops.quote_name(table)}")  # noqa: S608
        for model in tables():
            _copy_table(model, copied, report)
        _reset_sequences()
        # FOREIGN KEY checks are deferred to the commit; here they can still be named.
        connections[TARGET].check_constraints()
        entry = AuditEntry(actor=actor, action="database.copied", data={"rows": copied.rows})
        entry.save(using=TARGET)
    return copied


@contextlib.contextmanager
def _reading(source: BaseDatabaseWrapper) -> Iterator[None]:
    """All tables as of one time. On SQLite the transaction keeps writers out."""
    with transaction.atomic(using=source.alias):
        if source.vendor == "postgresql":
            with source.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        _keep_session(source)
        yield


def _keep_session(connection: BaseDatabaseWrapper) -> None:
    """Each side waits for the other for longer than a transaction may be idle."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def _copy_table(model: type[models.Model], copied: Copied, report: Report) -> None:
    table, target = model._meta.db_table, connections[TARGET]
    fields = [field for field in model._meta.local_concrete_fields if not field.generated]
    prepare = _preparation(fields, target, copied, table)
    rows = model._base_manager.using(SOURCE).order_by().values_list(*(field.attname for field in fields))
    expected = model._base_manager.using(SOURCE).count()
    with target.cursor() as cursor:
        write = _copy_in if target.vendor == "postgresql" else _insert
        columns = ", ".join(target.ops.quote_name(str(field.column)) for field in fields)
        write(cursor, target.ops.quote_name(table), columns, map(prepare, rows.iterator(chunk_size=BATCH)))
    present = model._base_manager.using(TARGET).count()
    if present != expected:
        raise BackupError(f"Nothing was copied: {table} has {expected} rows here and would have {present} there.")
    copied.tables += 1
    copied.rows += present
    report(table, present)


def _copy_in(cursor: Any, table: str, columns: str, rows: Iterator[Row]) -> None:
    """Ten times as fast as INSERT."""
    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _insert(cursor: Any, table: str, columns: str, rows: Iterator[Row]) -> None:
    places = ", ".join(["%s"] * (columns.count(",") + 1))
    statement = f"INSERT INTO {table} ({columns}) VALUES ({places})"  # noqa: S608
    while batch := list(islice(rows, BATCH)):
        cursor.executemany(statement, batch)


def _reset_sequences() -> None:
    """Or the next row would get an id that is taken."""
    target = connections[TARGET]
    with target.cursor() as cursor:
        for statement in target.ops.sequence_reset_sql(no_style(), tables()):
            cursor.execute(statement)


# --- Values ---------------------------------------------------------------------------------------------


def _preparation(
    fields: Sequence[models.Field[Any, Any]], target: BaseDatabaseWrapper, copied: Copied, table: str
) -> Callable[[Row], Row]:
    """From a row as Django reads it to one as the driver of `target` writes it."""

    def fit(value: Any, field: models.Field[Any, Any]) -> Any:
        fitting = _without_nul(value)
        if isinstance(fitting, str) and field.max_length:
            fitting = fitting[: field.max_length]
        if fitting != value:
            copied.changed[table] = copied.changed.get(table, 0) + 1
        return fitting

    def prepare(row: Row) -> Row:
        if target.vendor == "postgresql":
            row = [fit(value, field) for value, field in zip(row, fields, strict=True)]
        return [
            value if type(value) in PLAIN else field.get_db_prep_save(value, target)
            for value, field in zip(row, fields, strict=True)
        ]

    return prepare


PLAIN = {int, str, float, type(None)}


def _without_nul(value: Any) -> Any:
    """SQLite keeps NUL characters in texts and JSON; PostgreSQL refuses them."""
    if isinstance(value, str):
        return value.replace("\x00", "") if "\x00" in value else value
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    return value
