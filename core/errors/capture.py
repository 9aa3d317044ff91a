"""Where errors are seen: in the log of whoever caught them last, or when nobody did."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from types import TracebackType

import structlog

from core.log_context import current_place

from .buffer import ErrorBuffer
from .sentry import Relay

log = structlog.get_logger(__name__)
ledger = ErrorBuffer()
relay = Relay()
Listener = Callable[[BaseException, str], None]
listeners: list[Listener] = [ledger.note, relay.note]


def begin(process: str) -> None:
    """Called once when a process starts; `process` is the command it runs."""
    ledger.open(process)
    relay.open(process)
    sys.excepthook = _process_failed
    threading.excepthook = _thread_failed


def tell(error: BaseException, place: str = "") -> None:
    """Hands `error` to everyone who keeps count; `place` is for where nothing else says. Never raises."""
    for listener in listeners:
        listener(error, current_place() or place)


def is_refusal(logger: str) -> bool:
    """Whether Django tells there of a request it refused. Anybody can send one, so it is no error of ours."""
    return logger.startswith("django.security.")


class ErrorHandler(logging.Handler):
    """For what the standard library logs; structlog's own events come by `core.observability`."""

    def emit(self, record: logging.LogRecord) -> None:
        is_foreign = not isinstance(record.msg, dict) and not is_refusal(record.name)
        if is_foreign and record.exc_info and record.exc_info[1] is not None:
            tell(record.exc_info[1])


def _process_failed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # structlog as it comes shows local variables, and secrets are among them. Ctrl-C is no error.
    if isinstance(error, Exception) and structlog.is_configured():
        log.critical("process.failed", exc_info=error)
        ledger.close()
        relay.close()
    else:
        sys.__excepthook__(kind, error, trace)


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None and failure.exc_type is not SystemExit:
        name = failure.thread.name if failure.thread else ""
        log.error("thread.failed", thread=name, exc_info=failure.exc_value)
