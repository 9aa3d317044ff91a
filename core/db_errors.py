"""Whether the database failed, or what was asked of it."""

from __future__ import annotations

from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError

# PostgreSQL's classes of codes. Our statements do not change, so a table that is missing, a right that was taken
# or a server that only reads is a matter of time: a restore is under way, or another server has taken over.
WRONG_STATE, MISSING_OR_FORBIDDEN = "25", "42"


def is_outage(error: BaseException) -> bool:
    """True if the same may succeed later: the database is away, busy, full, read-only or lacks a table.

    False for values that no database would take, and for what a driver refuses to send.
    """
    if isinstance(error, OperationalError | InterfaceError):
        return True
    if isinstance(error, InternalError | ProgrammingError):
        code = getattr(error.__cause__, "sqlstate", None) or ""
        return code.startswith((WRONG_STATE, MISSING_OR_FORBIDDEN))
    return False
