"""Where this process is at work, in words that stay the same: a route, a job, a service, a program."""

from __future__ import annotations

from contextvars import ContextVar

from django.http import HttpRequest
from structlog.contextvars import get_contextvars

request_in_hand: ContextVar[HttpRequest | None] = ContextVar("request_in_hand", default=None)
BOUND = ("job", "service", "socket", "program")  # what is bound to the log's context, the telling ones first


def current_place() -> str:
    """`GET api/programs/<int:program_id>`, `job webhooks.tasks.drain`, `program web`; empty when nobody said."""
    if request := request_in_hand.get():
        return f"{request.method} {route_of(request)}"
    bound = get_contextvars()
    return next((f"{name} {bound[name]}" for name in BOUND if name in bound), "")


def route_of(request: HttpRequest) -> str:
    """The pattern of the route, never the path: there are few of them, and they hold nobody's words."""
    return request.resolver_match.route if request.resolver_match else "none"


def current_request_id() -> str:
    """The id of the HTTP request being answered; empty outside of one."""
    found: str = get_contextvars().get("request_id", "")
    return found
