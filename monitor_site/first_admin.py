"""The first administrator: from the environment, or through a link that works once. There is no default account.

The link's token is kept only as a hash, in `RUN_DIR/setup.json`. It lasts 30 minutes, and means nothing from the
moment an administrator exists.
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
    """The set-up link has been used, has expired, or an administrator exists by now."""


class EnvironmentAccountError(Exception):
    """DJANGO_SUPERUSER_* do not describe an account that can be made."""


def administrator_exists() -> bool:
    return User.objects.filter(is_superuser=True, is_active=True).exists()


# --- From the environment -------------------------------------------------------------------------------


def create_from_environment(environment: Mapping[str, str]) -> list[str] | None:
    """Makes the account that DJANGO_SUPERUSER_USERNAME, _PASSWORD and _EMAIL describe.

    None when no name is set; otherwise what Django's validators hold against password and e-mail address, which
    are accepted all the same: whoever sets the environment is in charge. Raises EnvironmentAccountError.
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
    warnings = _objections(password, user)
    _create(user, password, source="environment")
    return warnings


def _objections(password: str, user: User) -> list[str]:
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


def issue_link(now: datetime) -> str:
    """A fresh token; any earlier link is dead from now on."""
    token = secrets.token_urlsafe(32)
    _link_file().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = {"digest": _digest(token), "expires_at": (now + LINK_LIFETIME).timestamp()}
    replace_private(_link_file(), json.dumps(kept))
    return token


def is_valid(token: str, now: datetime) -> bool:
    """Whether the link opens the form at `now`. Compares in constant time."""
    try:
        kept = json.loads(_link_file().read_text())
        is_the_one = secrets.compare_digest(kept["digest"], _digest(token))
        is_fresh = now.timestamp() < float(kept["expires_at"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # no link, or a damaged file
        return False
    return is_the_one and is_fresh and not administrator_exists()


def create_through_link(token: str, username: str, password: str, *, now: datetime, address: str | None) -> User:
    """Makes the first administrator, from values the form has checked, and uses the link up. Raises LinkUsedError.

    Of two people who send the form at the same moment, one removes the file and the other finds it gone.
    """
    if not is_valid(token, now):
        raise LinkUsedError
    try:
        kept = _link_file().read_text()
        _link_file().unlink()
    except FileNotFoundError as error:
        raise LinkUsedError from error
    user = User(username=username)
    try:
        _create(user, password, source="link", address=address)
    except BaseException:
        replace_private(_link_file(), kept)  # nothing was made, so the link may be tried again
        raise
    return user


def drop_link() -> None:
    with contextlib.suppress(FileNotFoundError):
        _link_file().unlink()
