"""Captures errors that are logged with their exception, and uncaught ones of processes and threads."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from types import TracebackType

import structlog

from core.log_context import current_place

from .buffer import ErrorBuffer
from .sentry import SentryReporter

log = structlog.get_logger(__name__)
error_buffer = ErrorBuffer()
sentry_reporter = SentryReporter()
Listener = Callable[[BaseException, str], None]
listeners: list[Listener] = [error_buffer.record, sentry_reporter.record]


def install(process: str) -> None:
    """Call it once when a process starts; `process` is its command."""
    error_buffer.open(process)
    sentry_reporter.open(process)
    sys.excepthook = _on_uncaught
    threading.excepthook = _on_thread_uncaught


def report_error(error: BaseException, place: str = "") -> None:
    """Never raises. `place` is used when the log context has none."""
    for listener in listeners:
        listener(error, current_place() or place)


def is_security_log(logger: str) -> bool:
    # Django's logger for refused requests. Anyone can send those, so they are not errors of the monitor.
    return logger.startswith("django.security.")


class ErrorHandler(logging.Handler):
    """Reports errors logged through the standard library; `core.observability` reports those of structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        from_structlog = isinstance(record.msg, dict)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not from_structlog and not is_security_log(record.name):
            report_error(error)


def _on_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # Before it is configured, structlog prints local variables, which may contain secrets. Ctrl-C is not an error.
    if isinstance(error, Exception) and structlog.is_configured():
        log.critical("process.failed", exc_info=error)
        error_buffer.close()
        sentry_reporter.close()
    else:
        sys.__excepthook__(kind, error, trace)


def _on_thread_uncaught(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None and failure.exc_type is not SystemExit:
        name = failure.thread.name if failure.thread else ""
        log.error("thread.failed", thread=name, exc_info=failure.exc_value)
