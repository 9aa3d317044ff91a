"""Structured logs of every process: one shape for structlog and the standard library, on stderr, secrets masked.

`set_up` runs inside `django.setup()` (the settings name it as LOGGING_CONFIG) and keeps commands quiet: warnings
only. A long-running process then calls `configure("agent")`: the level people set, its name on every line.
"""

from __future__ import annotations

import logging.config
import re
import secrets
import sys
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

from .background_log import BackgroundHandler
from .errors.capture import ErrorHandler, is_refusal, tell
from .log_context import current_request, current_request_id, route_of
from .masking import mask_text, masked

log = structlog.get_logger(__name__)
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
REQUEST_ID_HEADER = "X-Request-ID"
_process = {"name": ""}


def configure(process_name: str, *, background: bool = False) -> None:
    """Called once when a long-running process starts.

    With `background` a thread writes the lines, so that a stopped terminal cannot stop the process; see
    `BackgroundHandler` for when not to.
    """
    _process["name"] = process_name
    root = logging.getLogger()
    level = logging.getLevelName(settings.LOG_LEVEL if settings.LOG_LEVEL in LEVELS else "INFO")
    root.setLevel(min(level, logging.ERROR))  # errors are counted, also where people want to read of none
    writers = [handler for handler in root.handlers if not isinstance(handler, ErrorHandler)]
    if background:
        handler = BackgroundHandler()
        handler.setFormatter(writers[0].formatter if writers else None)
        root.handlers = [handler, *(other for other in root.handlers if other not in writers)]
        writers = [handler]
    for writer in writers:
        writer.setLevel(level)


def set_up(config: dict[str, Any]) -> None:
    """Applies settings.LOGGING and sends structlog the same way."""
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            _tell_of_error,
            *COMMON,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def line_formatter(kind: str) -> logging.Formatter:
    """`kind` is LOG_FORMAT; a system check tells about a wrong one, so here it just means console."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=COMMON,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *RENDERERS.get(kind, RENDERERS["console"]),
            _mask_line,
        ],
    )


def _tell_of_error(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Before the exception becomes text. What the standard library logs comes to `ErrorHandler`."""
    given = event.get("exc_info")
    if given and method in ("error", "exception", "critical"):
        error = given if isinstance(given, BaseException) else sys.exc_info()[1]
        if error is not None:
            tell(error, next((f"{name} {event[name]}" for name in ("program", "path") if name in event), ""))
    return event


def _add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if _process["name"]:
        event["process"] = _process["name"]
    return event


def _plain_refusal(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """One line for what strangers send, without the way it took through Django."""
    if is_refusal(event.get("logger", "")):
        event.pop("exc_info", None)
        event["level"] = "warning"
    return event


def _mask_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: masked(value, key) for key, value in event.items()}


def _mask_line(_logger: WrappedLogger, _method: str, line: Any) -> str:
    return mask_text(str(line))


def _indent_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A second line of a message must not look like a line of its own."""
    event["event"] = str(event.get("event", "")).replace("\n", "\n    ")
    return event


COMMON: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    _add_process,
    _plain_refusal,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    _mask_event,
]
RENDERERS: dict[str, list[Any]] = {
    "json": [structlog.processors.JSONRenderer(ensure_ascii=False)],
    "console": [
        _indent_event,
        # The default traceback shows local variables, and secrets are among them.
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        ),
    ],
}


# --- Requests -------------------------------------------------------------------------------------------


class RequestLogMiddleware:
    """One line per request, and an id that all other lines of it and the answer's X-Request-ID carry.

    A caller's own id is taken over when it is harmless, so that a proxy's log and ours can be joined.
    """

    sync_capable = True
    async_capable = True
    HARMLESS_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._answer_async(request)
        began = time.perf_counter()
        with self._in_hand(request):
            return self._noted(request, self.get_response(request), began)

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        with self._in_hand(request):
            return self._noted(request, await self.get_response(request), began)

    @contextmanager
    def _in_hand(self, request: HttpRequest) -> Iterator[None]:
        token = current_request.set(request)
        try:
            with bound_contextvars(request_id=self._id_of(request)):
                yield
        finally:
            current_request.reset(token)

    def _id_of(self, request: HttpRequest) -> str:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        return given if self.HARMLESS_ID.fullmatch(given) else secrets.token_hex(8)

    def _noted(self, request: HttpRequest, response: HttpResponseBase, began: float) -> HttpResponseBase:
        """The path alone: a query can hold what nobody should read."""
        response[REQUEST_ID_HEADER] = current_request_id()
        is_file = request.path.startswith(settings.STATIC_URL)
        (log.debug if is_file else log.info)(
            "request",
            method=request.method,
            path=request.path,
            route=route_of(request),
            status=response.status_code,
            ms=round((time.perf_counter() - began) * 1000, 1),
        )
        return response
