"""Registry and runner of the checks of `manage.py doctor`. Each app registers its own.

@register
def clock() -> Iterator[Finding]:
    yield ok("clock", "The clock is right.")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from django.db import DatabaseError


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    id: str  # "area.subject"; scripts rely on it
    status: Status
    summary: str  # what was found
    mend: str = ""  # how to fix it; the name is part of the JSON output


Check = Callable[[], Iterable[Finding]]
_checks: list[Check] = []


def register(check: Check) -> Check:
    if check not in _checks:
        _checks.append(check)
    return check


def ok(id_: str, summary: str) -> Finding:
    return Finding(id_, Status.OK, summary)


def warn(id_: str, summary: str, mend: str) -> Finding:
    return Finding(id_, Status.WARN, summary, mend)


def fail(id_: str, summary: str, mend: str) -> Finding:
    return Finding(id_, Status.FAIL, summary, mend)


def run_checks() -> list[Finding]:
    """Runs every check; one that raises an error becomes a finding."""
    return [finding for check in _checks for finding in _run_check(check)]


def _run_check(check: Check) -> list[Finding]:
    found: list[Finding] = []
    id_ = f"check.{getattr(check, '__name__', check)}"
    try:
        found.extend(check())
    except DatabaseError as error:
        found.append(warn(id_, f"Not checked: {error}", "Fix the database first."))
    except Exception as error:
        summary = f"This check failed with {type(error).__name__}: {error}"
        found.append(fail(id_, summary, "Fix the cause, then run the doctor again."))
    return found
