"""What `manage.py doctor` looks at. Every app registers its own checks; each answers with findings.

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
    id: str  # "area.subject", stable: scripts look for it
    status: Status
    summary: str  # what is, or is wrong
    mend: str = ""  # what to do about it


Check = Callable[[], Iterable[Finding]]
_checks: list[Check] = []


def register(check: Check) -> Check:
    """Adds `check`; they run in the order of registration."""
    if check not in _checks:
        _checks.append(check)
    return check


def ok(id_: str, summary: str) -> Finding:
    return Finding(id_, Status.OK, summary)


def warn(id_: str, summary: str, mend: str) -> Finding:
    return Finding(id_, Status.WARN, summary, mend)


def fail(id_: str, summary: str, mend: str) -> Finding:
    return Finding(id_, Status.FAIL, summary, mend)


def examine() -> list[Finding]:
    """Runs every check. One that breaks is a finding itself: the doctor never falls over its patient."""
    return [finding for check in _checks for finding in _examine(check)]


def _examine(check: Check) -> list[Finding]:
    found: list[Finding] = []
    id_ = f"check.{getattr(check, '__name__', check)}"
    try:
        found.extend(check())
    except DatabaseError as error:
        found.append(warn(id_, f"Not looked at: {error}", "Mend the database first."))
    except Exception as error:
        told = f"This check broke: {type(error).__name__}: {error}"
        found.append(fail(id_, told, "Mend what it names, then run the doctor again."))
    return found
