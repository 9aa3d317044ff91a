"""Security headers, compression, entity tags and the rules of the API; the rest of the middleware is Django's own.

Synchronous views have all their middleware in the thread of the view, see `monitor_site.asgi`. For views that
await, Django runs each half of a middleware in a thread, in case it blocks; those below only compute and stay in
the event loop.
"""

from __future__ import annotations

import hashlib
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.exceptions import BadRequest, MiddlewareNotUsed
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.middleware.http import ConditionalGetMiddleware
from django.utils.deprecation import MiddlewareMixin
from servestatic.middleware import ServeStaticMiddleware

from . import problems

API = "/api/"


class NonBlockingMiddleware(MiddlewareMixin):
    """Runs `process_request` and `process_response` in the event loop."""

    async def __acall__(self, request: HttpRequest) -> Any:
        response = self.process_request(request) if hasattr(self, "process_request") else None
        if response is None:
            response = await self.get_response(request)  # type: ignore[misc]  # a coroutine in this mode
        return self.process_response(request, response) if hasattr(self, "process_response") else response


class StaticFilesMiddleware(ServeStaticMiddleware):
    """Left out of the chain for synchronous views: static files never get there."""

    sync_capable = True

    def __init__(self, get_response: Any) -> None:
        if not iscoroutinefunction(get_response):
            raise MiddlewareNotUsed
        super().__init__(get_response)


class CompressionMiddleware(NonBlockingMiddleware, GZipMiddleware):
    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Leave live streams alone: compressed, their lines would wait for a full block."""
        if response.get("X-Accel-Buffering") == "no":
            return response
        return super().process_response(request, response)


class ApiConditionalGetMiddleware(NonBlockingMiddleware, ConditionalGetMiddleware):
    """ETag and 304 for the API. Goes inside compression, so that the tag is that of the uncompressed content."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not request.path.startswith(API):
            return response
        if isinstance(response, HttpResponse) and response.status_code == 200:
            # Django's own tag is an MD5, which takes three times as long.
            response["ETag"] = f'"{hashlib.sha1(response.content, usedforsecurity=False).hexdigest()}"'
        return super().process_response(request, response)


# Alpine evaluates the expressions in its attributes, and Unfold writes its colours as inline style.
PAGES = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
DATA = "default-src 'none'; frame-ancestors 'none'"
DATA_TYPES = ("application/json", problems.MEDIA_TYPE, "text/plain")


class SecurityHeadersMiddleware(NonBlockingMiddleware):
    """Content-Security-Policy, X-Content-Type-Options and Referrer-Policy on every response."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        is_data = response.get("Content-Type", "").startswith(DATA_TYPES)
        response.setdefault("Content-Security-Policy", DATA if is_data else PAGES)
        response.setdefault("X-Content-Type-Options", "nosniff")
        response.setdefault("Referrer-Policy", settings.SECURE_REFERRER_POLICY)
        return response


class ApiResponseMiddleware(NonBlockingMiddleware):
    """Under /api/: HEAD works as GET, browsers revalidate their copy, and every error is a problem document."""

    def process_request(self, request: HttpRequest) -> None:
        if request.method == "HEAD" and request.path.startswith(API):
            request.method = "GET"

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not request.path.startswith(API):
            return response
        if response.status_code >= 400 and response.get("Content-Type") != problems.MEDIA_TYPE:
            found = problems.problem(response.status_code)
            for name in ("Allow", "Retry-After"):
                if name in response:
                    found[name] = response[name]
            response.close()
            response = found
        response.setdefault("Cache-Control", "private, no-cache")
        if request.META["REQUEST_METHOD"] == "HEAD":
            without_body(response)
        return response


class NulCharacterMiddleware(NonBlockingMiddleware):
    """Refuses NUL characters in paths and queries: PostgreSQL fails on text with NUL, SQLite finds nothing."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if "\x00" in request.path_info:
            raise Http404("No path has NUL characters.")
        if "%00" not in request.META.get("QUERY_STRING", "") or not (names := _fields_with_nul(request)):
            return None
        if not request.path_info.startswith(API):
            raise BadRequest("The query has NUL characters.")
        return problems.unprocessable({"field": name, "message": "must not hold NUL characters"} for name in names)


def _fields_with_nul(request: HttpRequest) -> list[str]:
    return [name for name, values in request.GET.lists() if any("\x00" in text for text in (name, *values))]


def without_body(response: HttpResponseBase) -> None:
    if isinstance(response, HttpResponse):
        response.content = b""
    elif isinstance(response, StreamingHttpResponse):
        response.streaming_content = []
