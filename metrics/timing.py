"""How long requests take: counted in the web process, shown at `/metrics`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from prometheus_client import CollectorRegistry, Histogram

BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
registry = CollectorRegistry()
durations = Histogram(
    "monitor_http_request_duration_seconds",
    "Time from a request to the head of its answer",
    ["method", "route", "status"],
    buckets=BUCKETS,
    registry=registry,
)


class RequestTimingMiddleware:
    """Labels are bounded: the pattern of the route, never the path, and the hundreds of the status."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._answer_async(request)
        began = time.perf_counter()
        return _timed(request, self.get_response(request), began)

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        return _timed(request, await self.get_response(request), began)


def _timed(request: HttpRequest, response: HttpResponseBase, began: float) -> HttpResponseBase:
    route = request.resolver_match.route if request.resolver_match else "none"
    method = request.method if request.method in METHODS else "other"
    durations.labels(method, route, f"{response.status_code // 100}xx").observe(time.perf_counter() - began)
    return response
