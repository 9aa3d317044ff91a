"""Django's middleware without its changes of thread, the security headers, and the manners of the API.

Under ASGI Django runs the two halves of every classic middleware in a worker thread, in case they block. Nine of
them make eighteen hand-overs for each request: 4.2 ms for an empty answer here, 1.5 ms without. Those below only
compute; where one may come to touch the database it says so in `blocks`, and then the thread is used. All of that
is for views that await; the others have all their middleware in the thread, see `monitor_site.asgi`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages import get_messages
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import BadRequest, MiddlewareNotUsed
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.gzip import GZipMiddleware
from django.middleware.http import ConditionalGetMiddleware
from django.middleware.locale import LocaleMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.deprecation import MiddlewareMixin
from servestatic.middleware import ServeStaticMiddleware

from . import problems

API = "/api/"


class Inline(MiddlewareMixin):
    """Runs `process_request` and `process_response` in the event loop."""

    async def __acall__(self, request: HttpRequest) -> Any:
        response = self.process_request(request) if hasattr(self, "process_request") else None
        if response is None:
            response = await self.get_response(request)  # type: ignore[misc]  # a coroutine in this mode
        if not hasattr(self, "process_response"):
            return response
        if self.blocks(request):
            return await sync_to_async(self.process_response)(request, response)
        return self.process_response(request, response)

    def blocks(self, request: HttpRequest) -> bool:
        """Whether `process_response` may wait for the database."""
        return False


class Security(Inline, SecurityMiddleware):
    pass


class StaticFiles(ServeStaticMiddleware):
    """Not where everything is done in a thread: no view there is a file, and it can only await."""

    sync_capable = True

    def __init__(self, get_response: Any) -> None:
        if not iscoroutinefunction(get_response):
            raise MiddlewareNotUsed
        super().__init__(get_response)


class Compression(Inline, GZipMiddleware):
    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """A live stream passes as it is: compressed, its lines would wait for a full block."""
        if response.get("X-Accel-Buffering") == "no":
            return response
        return super().process_response(request, response)


class ApiConditionalGet(Inline, ConditionalGetMiddleware):
    """ETag and 304 for what the API answers. Inside compression, so the tag is that of the content itself."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not request.path.startswith(API):
            return response
        if isinstance(response, HttpResponse) and response.status_code == 200:
            # Django's own tag is an MD5, which takes three times as long.
            response["ETag"] = f'"{hashlib.sha1(response.content, usedforsecurity=False).hexdigest()}"'
        return super().process_response(request, response)


class Session(Inline, SessionMiddleware):
    def blocks(self, request: HttpRequest) -> bool:
        return request.session.modified


class Locale(Inline, LocaleMiddleware):
    pass


class Common(Inline, CommonMiddleware):
    pass


class Csrf(Inline, CsrfViewMiddleware):
    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        if self.async_mode:
            self.process_view = self._check_view  # type: ignore[method-assign, assignment]  # Django takes either kind

    async def _check_view(
        self, request: HttpRequest, callback: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        return super().process_view(request, callback, args, kwargs)


class Authentication(Inline, AuthenticationMiddleware):
    pass


class Messages(Inline, MessageMiddleware):
    def blocks(self, request: HttpRequest) -> bool:
        storage: Any = get_messages(request)
        return bool(storage.used or storage.added_new)


class XFrameOptions(Inline, XFrameOptionsMiddleware):
    pass


# --- Ours -----------------------------------------------------------------------------------------------

# Alpine evaluates the expressions in its attributes, and Unfold writes its colours as inline style.
PAGES = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
DATA = "default-src 'none'; frame-ancestors 'none'"
DATA_TYPES = ("application/json", problems.MEDIA_TYPE, "text/plain")


class SecurityHeaders(Inline):
    """A content security policy for everything that leaves, and no guessing of content types."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        is_data = response.get("Content-Type", "").startswith(DATA_TYPES)
        response.setdefault("Content-Security-Policy", DATA if is_data else PAGES)
        response.setdefault("X-Content-Type-Options", "nosniff")
        response.setdefault("Referrer-Policy", settings.SECURE_REFERRER_POLICY)
        return response


class ApiManners(Inline):
    """Under /api/: nothing is kept by browsers without asking, and every error is a problem document."""

    def process_request(self, request: HttpRequest) -> None:
        """HEAD is GET, of which only the head is sent."""
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


class NoNul(Inline):
    """PostgreSQL knows no text with NUL and fails where one is looked for; SQLite merely finds nothing."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if "\x00" in request.path_info:
            raise Http404("No address holds a NUL character.")
        if "%00" not in request.META.get("QUERY_STRING", "") or not (names := _with_nul(request)):
            return None
        if not request.path_info.startswith(API):
            raise BadRequest("No page is asked for with NUL characters.")
        return problems.unprocessable({"field": name, "message": "must not hold NUL characters"} for name in names)


def _with_nul(request: HttpRequest) -> list[str]:
    return [name for name, values in request.GET.lists() if any("\x00" in text for text in (name, *values))]


def without_body(response: HttpResponseBase) -> None:
    if isinstance(response, HttpResponse):
        response.content = b""
    elif isinstance(response, StreamingHttpResponse):
        response.streaming_content = []
