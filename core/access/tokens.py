"""Keys for scripts: `pm_<8>_<43>`. The row holds the first two parts and the SHA-256 of the whole."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.expressions import RawSQL
from django.utils import timezone

from core.models import ApiToken
from core.timeformat import in_utc

from .audit import audit
from .principal import Principal, token_actor
from .roles import Role, granted_level, role_of

SHAPE = re.compile(r"(?P<prefix>pm_[0-9a-z]{8})_[A-Za-z0-9_-]{43}")
PREFIX_ALPHABET = string.ascii_lowercase + string.digits
# Stand in for what a statement is asked with.
NOBODY = -1
ANY_DIGEST = "digest"
OWNER = ("id", "is_superuser", "username")  # in the order of the model, as `from_db` takes them
ANY_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)
NOTE_USE_EVERY = timedelta(minutes=1)


class TokenError(ValueError):
    """Why a token cannot be made; fit to be shown."""


def create_token(
    user: User, name: str, scope: Role | str, expires_at: datetime | None = None, *, actor: str | None = None
) -> tuple[ApiToken, str]:
    """The row, and the token in clear: the only time anybody sees it.

    Raises TokenError for an empty name, a moment that has passed, or a scope above the owner's role.
    """
    role = Role.named(str(scope))
    check_token(user, name, role, expires_at)
    token = ApiToken(user=user, name=name, scope=str(role), expires_at=expires_at)
    clear = draw_key(token)
    with transaction.atomic():
        token.save(force_insert=True)
        record(token, "create", actor or user.get_username())
    return token, clear


def check_token(user: User, name: str, scope: Role, expires_at: datetime | None) -> None:
    held = role_of(user)
    if held is None:
        raise TokenError(f"{user.get_username()} has no role, so a token could do nothing.")
    if scope > held:
        raise TokenError(f"{user.get_username()} has the role {held}; a token cannot exceed it.")
    if not 0 < len(name.strip()) <= 80 or not name.isprintable():
        raise TokenError("A token needs a name of 1 to 80 characters.")
    if expires_at is not None and expires_at <= timezone.now():
        raise TokenError("The time of expiry has passed already.")


def draw_key(token: ApiToken) -> str:
    """Gives the unsaved row a fresh key and returns it in clear."""
    token.prefix = "pm_" + "".join(secrets.choice(PREFIX_ALPHABET) for _ in range(8))
    clear = f"{token.prefix}_{secrets.token_urlsafe(32)}"
    token.digest = digest(clear)
    return clear


def revoke_token(token: ApiToken, *, actor: str) -> None:
    """Ends the token at once."""
    with transaction.atomic():
        record(token, "revoke", actor)
        token.delete()


def record(token: ApiToken, deed: str, actor: str | Principal, address: str | None = None) -> None:
    """`deed` is create or revoke."""
    until = token.expires_at.isoformat() if token.expires_at else None
    data = {"owner": token.user.get_username(), "scope": token.scope, "expires_at": until}
    audit(actor, f"token.{deed}", str(token), address=address, data=data)


def digest(clear: str) -> str:
    return hashlib.sha256(clear.encode()).hexdigest()


def authenticate_token(clear: str) -> Principal | None:
    """Whoever holds this token, with the lower of its scope and its owner's present role.

    None for a token that is malformed, unknown, expired, or whose owner is inactive or without a role. One query;
    a second one, at most once a minute, notes the use.
    """
    if not SHAPE.fullmatch(clear):
        return None
    now = timezone.now()
    found = _look_up(digest(clear), now)
    level = found and (Role.ADMIN if found.is_superuser else found.owner_level)
    if found is None or not level:
        return None
    _note_use(found.id, found.last_used_at, now)
    user = User.from_db(connection.alias, OWNER, found[: len(OWNER)])  # the rest is read by who asks for it
    role = min(Role(level), Role.named(found.scope))
    return Principal(user, role, token_actor(found.username, found.name), found.prefix)


class Found(NamedTuple):
    """A token and its owner; `owner_level` is None for one without a role."""

    owner_id: int
    is_superuser: bool
    username: str
    owner_level: int | None
    id: int
    name: str
    scope: str
    prefix: str
    last_used_at: datetime | None


def _look_up(hashed: str, now: datetime) -> Found | None:
    sql, values = _statement()
    moments = connection.ops.adapt_datetimefield_value(ANY_MOMENT), connection.ops.adapt_datetimefield_value(now)
    known = {ANY_DIGEST: hashed, moments[0]: moments[1]}
    with connection.cursor() as cursor:
        cursor.execute(sql, [known.get(value, value) for value in values])
        row = cursor.fetchone()
    return Found(*row) if row else None


@cache
def _statement() -> tuple[str, tuple[Any, ...]]:
    """The look-up in SQL, put together once: that takes Django 1.1 ms, and the database a tenth of it.

    So every request can ask anew, and a token that was revoked is refused at once.
    """
    is_in_time = Q(expires_at=None) | Q(expires_at__gt=ANY_MOMENT)
    found = ApiToken.objects.filter(is_in_time, digest=ANY_DIGEST, user__is_active=True).order_by()
    columns = ("id", "name", "scope", "prefix", "last_used_at")
    owner = (f"user__{name}" for name in OWNER)
    return found.values_list(*owner, _owner_level(), *columns).query.sql_with_params()


def _owner_level() -> RawSQL:
    """`granted_level` of the row's own user."""
    sql, values = granted_level(NOBODY).query.sql_with_params()
    owner = f"{connection.ops.quote_name(User._meta.db_table)}.{connection.ops.quote_name('id')}"
    with_owner = sql % tuple(owner if value == NOBODY else "%s" for value in values)
    return RawSQL(with_owner, [value for value in values if value != NOBODY])  # noqa: S611  (no input in it)


def _note_use(token_id: int, last_used_at: datetime | None, now: datetime) -> None:
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - NOTE_USE_EVERY)
    if last_used_at is None or in_utc(last_used_at) <= now - NOTE_USE_EVERY:
        ApiToken.objects.filter(stale, pk=token_id).update(last_used_at=now)
