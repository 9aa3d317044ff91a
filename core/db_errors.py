"""Distinguishes database outages from faulty statements."""

from __future__ import annotations

from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError

# SQLSTATE classes of PostgreSQL. Our statements are fixed, so a missing table, a revoked right or a
# read-only server is temporary: a restore is running, or a standby has taken over.
WRONG_STATE, MISSING_OR_FORBIDDEN = "25", "42"


def is_outage(error: BaseException) -> bool:
    """True if a retry may succeed: the database is unreachable, busy, full, read-only or lacks a table.

    False for values that the database or its driver rejects.
    """
    if isinstance(error, OperationalError | InterfaceError):
        return True
    if isinstance(error, InternalError | ProgrammingError):
        code = getattr(error.__cause__, "sqlstate", None) or ""
        return code.startswith((WRONG_STATE, MISSING_OR_FORBIDDEN))
    return False
