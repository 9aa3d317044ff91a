"""Errors of the API as problem documents: RFC 9457, `application/problem+json`.

`{"type": "about:blank", "title": "Conflict", "status": 409, "detail": "…", "request_id": "…"}`. Invalid input is
in `errors`, as `[{"field": "command", "message": "…"}]`. The stack trace is only in the log, with the same
`request_id`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied, RequestDataTooBig, ValidationError
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError
from ninja.errors import ValidationError as SchemaError

from core.exceptions import ConflictError
from core.log_context import current_request_id

log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
DATABASE_UNAVAILABLE = "The database is busy, full or not reachable. Programs keep running. Try again shortly."
DETAILS = {
    401: "Log in, or send a token: Authorization: Bearer pm_…",
    404: "This address does not exist.",
    405: "This address does not support that method.",
    500: "Something went wrong. The log of the monitor has the details.",
    503: DATABASE_UNAVAILABLE,
}

OPENAPI = {
    "description": "Problem (RFC 9457)",
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "additionalProperties": False,
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "request_id": {"type": "string"},
                    "errors": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["field", "message"],
                            "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                        },
                    },
                },
            }
        }
    },
}

Problem = dict[str, Any]
FieldError = dict[str, str]
Failure = Any  # an exception of the kind its handler is registered for


def problem(status: int, detail: str = "", errors: Iterable[FieldError] | None = None) -> HttpResponse:
    found: Problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    found["detail"] = detail or DETAILS.get(status, found["title"])
    if request_id := current_request_id():
        found["request_id"] = request_id
    if errors is not None:
        found["errors"] = list(errors)
    return HttpResponse(orjson.dumps(found), status=status, content_type=MEDIA_TYPE)


def install(api: NinjaAPI) -> None:
    for kind, handler in HANDLERS.items():
        api.add_exception_handler(kind, handler)


def _expected(request: HttpRequest, error: Failure) -> HttpResponse:
    status = error.status_code if isinstance(error, HttpError) else STATUS[type(error)]
    return problem(status, str(error))


def _unauthenticated(request: HttpRequest, error: Failure) -> HttpResponse:
    text = str(error)
    response = problem(401, "" if text == "Unauthorized" else text)
    response["WWW-Authenticate"] = "Bearer"
    return response


def _not_found(request: HttpRequest, error: Failure) -> HttpResponse:
    # Django's own text names the URL patterns of the site.
    return problem(404, "" if error.args and isinstance(error.args[0], Mapping) else str(error))


def _invalid(request: HttpRequest, error: Failure) -> HttpResponse:
    by_field = error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
    return unprocessable(
        {"field": "" if field == NON_FIELD_ERRORS else field, "message": message}
        for field, messages in by_field.items()
        for message in messages
    )


def _schema_mismatch(request: HttpRequest, error: Failure) -> HttpResponse:
    return unprocessable(
        {
            "field": ".".join(map(str, _field_path(entry["loc"]))),
            "message": entry["msg"].removeprefix("Value error, "),
        }
        for entry in error.errors
    )


def _field_path(location: tuple[Any, ...]) -> tuple[Any, ...]:
    """`("body", "body", "stop_ladder", 0, "seconds")` without source and name of the parameter."""
    return location[2:] if location[0] in ("body", "query") and len(location) > 2 else location[1:]


def unprocessable(errors: Iterable[FieldError]) -> HttpResponse:
    return problem(422, "Some values are not valid; see errors.", errors)


def _database_unavailable(request: HttpRequest, error: Failure) -> HttpResponse:
    log.error("api.database_unavailable", method=request.method, path=request.path, exc_info=error)
    response = problem(503, DATABASE_UNAVAILABLE)
    response["Retry-After"] = str(RETRY_SECONDS)
    return response


def _unexpected(request: HttpRequest, error: Failure) -> HttpResponse:
    log.error("api.failed", method=request.method, path=request.path, exc_info=error)
    return problem(500)


STATUS: dict[type[Exception], int] = {ConflictError: 409, RequestDataTooBig: 413, PermissionDenied: 403}
HANDLERS: dict[type[Exception], Callable[[HttpRequest, Failure], HttpResponse]] = {
    Exception: _unexpected,
    OperationalError: _database_unavailable,
    InterfaceError: _database_unavailable,
    HttpError: _expected,
    AuthenticationError: _unauthenticated,
    Http404: _not_found,
    ConflictError: _expected,
    RequestDataTooBig: _expected,
    PermissionDenied: _expected,
    ValidationError: _invalid,
    SchemaError: _schema_mismatch,
}
