"""Errors made on purpose."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.test import TestCase

from core.errors.buffer import ErrorBuffer
from core.errors.occurrence import Occurrence, sighted

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def caught(fail: Callable[[], Any]) -> Exception:
    try:
        fail()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def refuse(value: object = "") -> None:
    raise ValueError(f"cannot use {value}")


def seen(error: Exception, at: datetime = NOON) -> Occurrence:
    return sighted(error, "web", "GET x", at)


def write(ledger: ErrorBuffer) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True), transaction.atomic():
        ledger.write()
