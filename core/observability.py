"""Structured logs of all processes on stderr, with secrets masked, for structlog and the standard library alike.

`django.setup()` calls `set_up` (LOGGING_CONFIG), after which commands log warnings only. A long-running process
then calls `configure("agent")`, which applies LOG_LEVEL and adds its name to every line.
"""

from __future__ import annotations

import contextlib
import logging
import logging.config
import os
import queue
import re
import secrets
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from structlog.contextvars import bound_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from .errors.capture import ErrorHandler, is_security_log, report_error
from .log_context import current_request, current_request_id, route_of
from .masking import mask_text, masked

log = structlog.get_logger(__name__)
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
REQUEST_ID_HEADER = "X-Request-ID"
QUEUED_LINES = 10_000
CLOSE_SECONDS = 1.0
_process = {"name": ""}


def configure(process_name: str, *, background: bool = False) -> None:
    """Call it once when a long-running process starts.

    With `background`, a thread writes the lines, so that a stopped terminal cannot block the process. See
    `BackgroundHandler` for its limits.
    """
    _process["name"] = process_name
    root = logging.getLogger()
    level = logging.getLevelName(settings.LOG_LEVEL if settings.LOG_LEVEL in LEVELS else "INFO")
    root.setLevel(min(level, logging.ERROR))  # errors are recorded even if LOG_LEVEL hides them
    writers = [handler for handler in root.handlers if not isinstance(handler, ErrorHandler)]
    if background:
        handler = BackgroundHandler()
        handler.setFormatter(writers[0].formatter if writers else None)
        root.handlers = [handler, *(other for other in root.handlers if other not in writers)]
        writers = [handler]
    for writer in writers:
        writer.setLevel(level)


def set_up(config: dict[str, Any]) -> None:
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            _report_error,
            *COMMON,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def line_formatter(kind: str) -> logging.Formatter:
    # `kind` is LOG_FORMAT. Unknown values, which a system check reports, mean console.
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=COMMON,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *RENDERERS.get(kind, RENDERERS["console"]),
            _mask_line,
        ],
    )


def _report_error(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    # Runs before the exception becomes text. `ErrorHandler` does the same for the standard library.
    given = event.get("exc_info")
    if given and method in ("error", "exception", "critical"):
        error = given if isinstance(given, BaseException) else sys.exc_info()[1]
        if error is not None:
            report_error(
                error, next((f"{name} {event[name]}" for name in ("program", "path") if name in event), "")
            )
    return event


def _add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if _process["name"]:
        event["process"] = _process["name"]
    return event


def _shorten_security_log(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if is_security_log(event.get("logger", "")):
        event.pop("exc_info", None)
        event["level"] = "warning"
    return event


def _mask_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: masked(value, key) for key, value in event.items()}


def _mask_line(_logger: WrappedLogger, _method: str, line: Any) -> str:
    return mask_text(str(line))


def _indent_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # A line break in a message must not allow forging a log line.
    event["event"] = str(event.get("event", "")).replace("\n", "\n    ")
    return event


COMMON: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    _add_process,
    _shorten_security_log,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    _mask_event,
]
RENDERERS: dict[str, list[Any]] = {
    "json": [structlog.processors.JSONRenderer(ensure_ascii=False)],
    "console": [
        _indent_event,
        # The default formatter prints local variables, which may contain secrets.
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        ),
    ],
}


# --- Writing ---------------------------------------------------------------------------------------------


class BackgroundHandler(logging.Handler):
    """Writes lines to a file descriptor from a thread.

    Otherwise a terminal stopped with Ctrl-S or a pager would block the agent and every restart. Lines that do not
    fit the queue are counted and reported. The thread does not survive a fork, so processes that fork workers must
    not use it.
    """

    def __init__(self, descriptor: int = 2, capacity: int = QUEUED_LINES) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes | None] = queue.Queue(capacity)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait((self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except queue.Full:
            self._dropped += 1
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Waits up to CLOSE_SECONDS for the remaining lines."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
            self._thread.join(CLOSE_SECONDS)
        super().close()

    def _write_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write(line)
            if self._dropped and self._lines.empty():
                dropped, self._dropped = self._dropped, 0
                self._write(f"{dropped} log lines were dropped because nothing read them\n".encode())

    def _write(self, line: bytes) -> None:
        # Not through sys.stderr: a thread stuck inside its lock would abort the interpreter at exit.
        with contextlib.suppress(OSError):  # the reader is gone, so there is nowhere to report it
            while line:
                line = line[os.write(self._descriptor, line) :]


# --- Requests -------------------------------------------------------------------------------------------


class RequestLogMiddleware:
    """Logs one line per request. All its log lines and the X-Request-ID header of the response have the same id.

    Uses the client's id if it is valid, so that the logs of a proxy can be matched.
    """

    sync_capable = True
    async_capable = True
    VALID_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._call_async(request)
        started = time.perf_counter()
        with self._context(request):
            return self._log_response(request, self.get_response(request), started)

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        with self._context(request):
            return self._log_response(request, await self.get_response(request), started)

    @contextmanager
    def _context(self, request: HttpRequest) -> Iterator[None]:
        token = current_request.set(request)
        try:
            with bound_contextvars(request_id=self._request_id(request)):
                yield
        finally:
            current_request.reset(token)

    def _request_id(self, request: HttpRequest) -> str:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        return given if self.VALID_ID.fullmatch(given) else secrets.token_hex(8)

    def _log_response(self, request: HttpRequest, response: HttpResponseBase, started: float) -> HttpResponseBase:
        # Without the query string, which may contain secrets.
        response[REQUEST_ID_HEADER] = current_request_id()
        is_file = request.path.startswith(settings.STATIC_URL)
        (log.debug if is_file else log.info)(
            "request",
            method=request.method,
            path=request.path,
            route=route_of(request),
            status=response.status_code,
            ms=round((time.perf_counter() - started) * 1000, 1),
        )
        return response
