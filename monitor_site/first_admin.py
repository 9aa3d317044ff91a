"""Creates the first administrator from the environment or through a one-time link. There is no default account.

`RUN_DIR/setup.json` stores the hash of the link's token. The link works for 30 minutes and only while there is no
administrator.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from core.access.audit import audit
from core.keyfile import replace_private

LINK_LIFETIME = timedelta(minutes=30)


class LinkUsedError(Exception):
    """The set-up link was used or has expired, or there is an administrator."""


class EnvironmentAccountError(Exception):
    """DJANGO_SUPERUSER_* do not describe a valid account."""


def administrator_exists() -> bool:
    return User.objects.filter(is_superuser=True, is_active=True).exists()


# --- From the environment -------------------------------------------------------------------------------


def create_from_environment(environment: Mapping[str, str]) -> list[str] | None:
    """Creates the account from DJANGO_SUPERUSER_USERNAME, _PASSWORD and _EMAIL.

    Returns None without a name, else the messages of Django's validators. A weak password is accepted
    nevertheless, since anyone who sets the environment controls the installation anyway. Raises
    EnvironmentAccountError.
    """
    username = environment.get("DJANGO_SUPERUSER_USERNAME", "")
    password = environment.get("DJANGO_SUPERUSER_PASSWORD", "")
    if not username:
        return None
    if not password:
        raise EnvironmentAccountError("DJANGO_SUPERUSER_USERNAME is set, but DJANGO_SUPERUSER_PASSWORD is not.")
    user = User(username=username, email=environment.get("DJANGO_SUPERUSER_EMAIL", ""))
    try:
        user.full_clean(exclude=["password", "email"])
    except ValidationError as error:
        raise EnvironmentAccountError(f"DJANGO_SUPERUSER_*: {' '.join(error.messages)}") from error
    warnings = _validation_messages(password, user)
    _create(user, password, source="environment")
    return warnings


def _validation_messages(password: str, user: User) -> list[str]:
    checks: list[Callable[[], None]] = [
        lambda: validate_password(password, user),
        lambda: validate_email(user.email) if user.email else None,
    ]
    found: list[str] = []
    for check in checks:
        try:
            check()
        except ValidationError as error:
            found += error.messages
    return found


def _create(user: User, password: str, *, source: str, address: str | None = None) -> None:
    user.is_staff = user.is_superuser = True
    user.set_password(password)
    with transaction.atomic():
        user.save(force_insert=True)
        audit(user.username, "administrator.created", user.username, address=address, data={"source": source})


# --- Through the link -----------------------------------------------------------------------------------


def _link_file() -> Path:
    return Path(settings.RUN_DIR) / "setup.json"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def create_link(now: datetime) -> str:
    token = secrets.token_urlsafe(32)
    _link_file().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    stored = {"digest": _digest(token), "expires_at": (now + LINK_LIFETIME).timestamp()}
    replace_private(_link_file(), json.dumps(stored))
    return token


def is_link_valid(token: str, now: datetime) -> bool:
    try:
        stored = json.loads(_link_file().read_text())
        matches = secrets.compare_digest(stored["digest"], _digest(token))  # in constant time
        is_fresh = now.timestamp() < float(stored["expires_at"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # no link, or a damaged file
        return False
    return matches and is_fresh and not administrator_exists()


def create_from_link(token: str, username: str, password: str, *, now: datetime, address: str | None) -> User:
    """Creates the first administrator from validated values and deletes the link. Raises LinkUsedError."""
    if not is_link_valid(token, now):
        raise LinkUsedError
    try:
        stored = _link_file().read_text()
        _link_file().unlink()  # of two simultaneous requests, only one can delete the file
    except FileNotFoundError as error:
        raise LinkUsedError from error
    user = User(username=username)
    try:
        _create(user, password, source="link", address=address)
    except BaseException:
        replace_private(_link_file(), stored)  # no account was created, so the link stays valid
        raise
    return user


def delete_link() -> None:
    with contextlib.suppress(FileNotFoundError):
        _link_file().unlink()
