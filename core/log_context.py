"""What the current thread or task is working on: a request, a job, a service or a program."""

from __future__ import annotations

from contextvars import ContextVar

from django.http import HttpRequest
from structlog.contextvars import get_contextvars

current_request: ContextVar[HttpRequest | None] = ContextVar("current_request", default=None)
LOG_KEYS = ("job", "service", "socket", "program")  # most specific first


def current_place() -> str:
    """`GET api/programs/<int:program_id>`, `job webhooks.tasks.drain`, `program web`; empty when unknown.

    Groups errors, so it names routes and not paths: one group per route, and no user input in it.
    """
    if request := current_request.get():
        return f"{request.method} {route_of(request)}"
    bound = get_contextvars()
    return next((f"{name} {bound[name]}" for name in LOG_KEYS if name in bound), "")


def route_of(request: HttpRequest) -> str:
    return request.resolver_match.route if request.resolver_match else "none"


def current_request_id() -> str:
    """Empty outside of a request."""
    found: str = get_contextvars().get("request_id", "")
    return found
