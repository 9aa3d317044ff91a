"""Errors and occurrences for tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.test import TestCase

from core.errors.buffer import ErrorBuffer
from core.errors.occurrence import Occurrence, make_occurrence

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def catch(call: Callable[[], Any]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("no error was raised")


def fail(value: object = "") -> None:
    raise ValueError(f"cannot use {value}")


def occurrence_of(error: Exception, at: datetime = NOON) -> Occurrence:
    return make_occurrence(error, "web", "GET x", at)


def write(buffer: ErrorBuffer) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True), transaction.atomic():
        buffer.write()
