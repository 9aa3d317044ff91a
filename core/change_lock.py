"""One lock for what people define: programs, endpoints, rules, rights. The agents' own writes never take it."""

from __future__ import annotations

from django.db import connection

KEY = 7_306_846_112  # any number that other users of the database do not lock


def lock_changes() -> None:
    """Waits until no other transaction holds the lock, then holds it to the end of the transaction.

    Take it before any row, or two transactions can wait for each other. On SQLite each transaction that writes
    excludes the others anyway.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [KEY])
