"""Log-ins with a brake: after five failures from one address a user name waits out the rest of 15 minutes.

Counted are name and address together, so nobody can lock others out from elsewhere. The address is the one the
connection came from; `X-Forwarded-For` can be written by anybody and is not believed.
"""

from __future__ import annotations

import hashlib
import ipaddress
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import HttpRequest
from django.utils import timezone

from core.models import LoginThrottle

from .audit import audit

FAILURES = 5
WINDOW = timedelta(minutes=15)
# Lets the receiver of Django's "login failed" signal tell a refusal, noted here, from a wrong password.
refused: ContextVar[bool] = ContextVar("login_refused", default=False)


class ThrottledBackend(ModelBackend):
    """Django's own backend behind the brake; it serves every form and view that calls `authenticate()`."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        """Raises PermissionDenied, which ends the attempt, while the brake is on."""
        name = username if username is not None else kwargs.get(User.USERNAME_FIELD)
        if name is None or password is None:
            return None
        address = client_address(request)
        key = throttle_key(name, address)
        is_refused = not _take_attempt(key, timezone.now())
        refused.set(is_refused)
        if is_refused:
            _note_refusal(key, name, address)
            raise PermissionDenied
        user = super().authenticate(request, username=name, password=password)
        if not isinstance(user, User):
            return None
        LoginThrottle.objects.filter(pk=key).delete()
        return user

    async def aauthenticate(self, request: HttpRequest | None, **kwargs: Any) -> User | None:  # type: ignore[override]
        """Django's own asynchronous way would pass by the brake."""
        return await sync_to_async(self.authenticate)(request, **kwargs)


def client_address(request: HttpRequest | None) -> str | None:
    """The address at the other end of the connection; None for a Unix socket or none at all."""
    raw = request.META.get("REMOTE_ADDR", "") if request is not None else ""
    try:
        found = ipaddress.ip_address(raw.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def locked_until(username: str, address: str | None) -> datetime | None:
    """When the next attempt will be looked at; None when it would be now."""
    row = LoginThrottle.objects.filter(
        pk=throttle_key(username, address), failures__gte=FAILURES, since__gt=timezone.now() - WINDOW
    ).first()
    return row.since + WINDOW if row else None


def throttle_key(username: str, address: str | None) -> str:
    """Name and address as one fixed-length text. A whole IPv6 /64 counts as one: that is what one line gets."""
    origin = address or ""
    if ":" in origin:
        origin = str(ipaddress.ip_network(f"{origin}/64", strict=False))
    return hashlib.sha256(f"{origin}\n{username}".encode("utf-8", "surrogatepass")).hexdigest()


def _take_attempt(key: str, now: datetime) -> bool:
    """Counts the attempt before the password is looked at, so that a hundred at once do not all slip through."""
    begins = now - WINDOW
    current = LoginThrottle.objects.filter(pk=key, since__gt=begins)
    if current.filter(failures__lt=FAILURES).update(failures=F("failures") + 1):
        return True
    if current.exists():
        return False
    LoginThrottle.objects.filter(since__lte=begins).delete()
    _, created = LoginThrottle.objects.get_or_create(pk=key, defaults={"since": now})
    return created or _take_attempt(key, now)


def _note_refusal(key: str, username: str, address: str | None) -> None:
    """One row in the audit trail for each time the brake goes on, however often somebody knocks then."""
    if LoginThrottle.objects.filter(pk=key, failures=FAILURES).update(failures=FAILURES + 1):
        audit("anonymous", "login", shown_name(username), outcome="refused", address=address)


def shown_name(username: str) -> str:
    """`username` if there is such a user: people type passwords into the wrong field, and rows are for ever."""
    return username if User.objects.filter(username=username).exists() else "(unknown user)"
