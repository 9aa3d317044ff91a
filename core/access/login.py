"""Login with a throttle: after five failures a user name is locked out for the rest of 15 minutes.

Failures are counted per user name and address, so nobody can lock out a user from elsewhere. The address is the
connection's, since any client can send `X-Forwarded-For`. The audit trail records logins, failures and logouts.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from core.models import LoginThrottle

from .audit import audit

MAX_FAILURES = 5
WINDOW = timedelta(minutes=15)
# Set for a throttled attempt, which is audited here, so that the receiver of `user_login_failed` skips it.
was_throttled: ContextVar[bool] = ContextVar("login_was_throttled", default=False)


class ThrottledBackend(ModelBackend):
    """Covers every form and view that calls `authenticate()`."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        """Raises PermissionDenied while the user name is locked out; no other backend is tried then."""
        name = username if username is not None else kwargs.get(User.USERNAME_FIELD)
        if name is None or password is None:
            return None
        address = client_address(request)
        key = throttle_key(name, address)
        is_throttled = not _count_attempt(key, timezone.now())
        was_throttled.set(is_throttled)
        if is_throttled:
            _audit_lockout(key, name, address)
            raise PermissionDenied
        user = super().authenticate(request, username=name, password=password)
        if not isinstance(user, User):
            return None
        LoginThrottle.objects.filter(pk=key).delete()
        return user

    async def aauthenticate(self, request: HttpRequest | None, **kwargs: Any) -> User | None:  # type: ignore[override]
        # Django's own async version would bypass the throttle.
        return await sync_to_async(self.authenticate)(request, **kwargs)


def client_address(request: HttpRequest | None) -> str | None:
    """The address at the other end of the connection; None for a Unix socket or without a request."""
    raw = request.META.get("REMOTE_ADDR", "") if request is not None else ""
    try:
        found = ipaddress.ip_address(raw.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def locked_until(username: str, address: str | None) -> datetime | None:
    row = LoginThrottle.objects.filter(
        pk=throttle_key(username, address), failures__gte=MAX_FAILURES, since__gt=timezone.now() - WINDOW
    ).first()
    return row.since + WINDOW if row else None


def throttle_key(username: str, address: str | None) -> str:
    # Counts a whole IPv6 /64 as one address, because one customer usually gets a /64.
    origin = address or ""
    if ":" in origin:
        origin = str(ipaddress.ip_network(f"{origin}/64", strict=False))
    return hashlib.sha256(f"{origin}\n{username}".encode("utf-8", "surrogatepass")).hexdigest()


def _count_attempt(key: str, now: datetime) -> bool:
    """Returns False when the attempts are used up."""
    # Counted before the password is checked: otherwise many simultaneous attempts would all pass.
    window_start = now - WINDOW
    current = LoginThrottle.objects.filter(pk=key, since__gt=window_start)
    if current.filter(failures__lt=MAX_FAILURES).update(failures=F("failures") + 1):
        return True
    if current.exists():
        return False
    LoginThrottle.objects.filter(since__lte=window_start).delete()
    _, created = LoginThrottle.objects.get_or_create(pk=key, defaults={"since": now})
    return created or _count_attempt(key, now)


def _audit_lockout(key: str, username: str, address: str | None) -> None:
    # Adds one audit row per lockout, however many attempts follow.
    if LoginThrottle.objects.filter(pk=key, failures=MAX_FAILURES).update(failures=MAX_FAILURES + 1):
        audit("anonymous", "login", audited_username(username), outcome="refused", address=address)


def audited_username(username: str) -> str:
    # Unknown names are not recorded: people sometimes type their password into the wrong field.
    return username if User.objects.filter(username=username).exists() else "(unknown user)"


@receiver(user_logged_in)
def audit_login(request: HttpRequest | None, user: User, **kwargs: Any) -> None:
    audit(user.get_username(), "login", address=client_address(request))


@receiver(user_logged_out)
def audit_logout(request: HttpRequest | None, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        audit(user.get_username(), "logout", address=client_address(request))


@receiver(user_login_failed)
def audit_failure(credentials: Mapping[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    if was_throttled.get():
        was_throttled.set(False)
        return
    name = audited_username(str(credentials.get(User.USERNAME_FIELD, "")))
    audit("anonymous", "login", name, outcome="failed", address=client_address(request))
