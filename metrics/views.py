"""`/metrics` at the root of the site, for Prometheus."""

from __future__ import annotations

from functools import cache
from ipaddress import ip_address

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from ninja.errors import HttpError

from core.rest import auth

from .prometheus import CONTENT_TYPE, Exposition

# Behind a reverse proxy on this machine everybody comes from the loopback; a proxy says so.
FORWARDED = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via")


@cache
def _exposition() -> Exposition:
    return Exposition()


@require_safe
def prometheus_page(request: HttpRequest) -> HttpResponse:
    """For everybody on this machine, and for whoever may read: a token or a log-in."""
    try:
        is_allowed = any(callback(request) for callback in auth.READ) or _is_from_here(request)
    except HttpError as error:
        return _refused(error.status_code, str(error))
    if not is_allowed:
        return _refused(401, "Send a token, Authorization: Bearer pm_…, or ask from the monitor's own machine.")
    answer = HttpResponse(_exposition().text(), content_type=CONTENT_TYPE)
    answer["Cache-Control"] = "no-store"
    return answer


def _refused(status: int, text: str) -> HttpResponse:
    answer = HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")
    if status == 401:
        answer["WWW-Authenticate"] = "Bearer"
    return answer


def _is_from_here(request: HttpRequest) -> bool:
    if any(name in request.headers for name in FORWARDED):
        return False
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
