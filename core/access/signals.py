"""Log-ins, failed log-ins and log-outs go into the audit trail, whoever caused them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from .audit import audit
from .login import client_address, refused, shown_name


@receiver(user_logged_in)
def note_login(request: HttpRequest | None, user: User, **kwargs: Any) -> None:
    audit(user.get_username(), "login", address=client_address(request))


@receiver(user_logged_out)
def note_logout(request: HttpRequest | None, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        audit(user.get_username(), "logout", address=client_address(request))


@receiver(user_login_failed)
def note_failure(credentials: Mapping[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    if refused.get():  # the brake has noted it
        refused.set(False)
        return
    name = shown_name(str(credentials.get(User.USERNAME_FIELD, "")))
    audit("anonymous", "login", name, outcome="failed", address=client_address(request))
