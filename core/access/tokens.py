"""API tokens: `pm_<8 characters>_<43 characters>`. Stored are the first two parts and the SHA-256 of the whole."""

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
from .roles import Principal, Role, role_level_query, role_of, token_actor

TOKEN_PATTERN = re.compile(r"(?P<prefix>pm_[0-9a-z]{8})_[A-Za-z0-9_-]{43}")
PREFIX_ALPHABET = string.ascii_lowercase + string.digits
OWNER_COLUMNS = ("id", "is_superuser", "username")  # in the order of the model, as `from_db` expects them
# Placeholders in the prepared statement, replaced with the values of each lookup.
ANY_USER = -1
ANY_DIGEST = "digest"
ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)
LAST_USED_PRECISION = timedelta(minutes=1)


class TokenError(ValueError):
    """Why a token cannot be created; shown to the user."""


def create_token(
    user: User, name: str, scope: Role | str, expires_at: datetime | None = None, *, actor: str | None = None
) -> tuple[ApiToken, str]:
    """Returns the row and the token itself, which is not stored.

    Raises TokenError for an invalid name, a past expiry, or a scope above the owner's role.
    """
    role = Role.from_name(str(scope))
    check_token(user, name, role, expires_at)
    token = ApiToken(user=user, name=name, scope=str(role), expires_at=expires_at)
    plaintext = generate_key(token)
    with transaction.atomic():
        token.save(force_insert=True)
        audit_token(token, "create", actor or user.get_username())
    return token, plaintext


def check_token(user: User, name: str, scope: Role, expires_at: datetime | None) -> None:
    held = role_of(user)
    if held is None:
        raise TokenError(f"{user.get_username()} has no role, so a token could not be used.")
    if scope > held:
        raise TokenError(f"{user.get_username()} has the role {held}; a token's scope cannot exceed it.")
    if not 0 < len(name.strip()) <= 80 or not name.isprintable():
        raise TokenError("Enter a name of 1 to 80 characters.")
    if expires_at is not None and expires_at <= timezone.now():
        raise TokenError("The expiry time is in the past.")


def generate_key(token: ApiToken) -> str:
    """Sets prefix and digest of the unsaved row and returns the new token."""
    token.prefix = "pm_" + "".join(secrets.choice(PREFIX_ALPHABET) for _ in range(8))
    plaintext = f"{token.prefix}_{secrets.token_urlsafe(32)}"
    token.digest = digest(plaintext)
    return plaintext


def revoke_token(token: ApiToken, *, actor: str) -> None:
    with transaction.atomic():
        audit_token(token, "revoke", actor)
        token.delete()


def audit_token(token: ApiToken, action: str, actor: str | Principal, address: str | None = None) -> None:
    expires_at = token.expires_at.isoformat() if token.expires_at else None
    data = {"owner": token.user.get_username(), "scope": token.scope, "expires_at": expires_at}
    audit(actor, f"token.{action}", str(token), address=address, data=data)


def digest(plaintext: str) -> str:
    return hashlib.sha256(plaintext.encode()).hexdigest()


def authenticate_token(plaintext: str) -> Principal | None:
    """The owner with the lower of the token's scope and the owner's present role.

    None for a malformed, unknown or expired token, or an owner who is inactive or has no role. Takes one query,
    and at most once a minute a second one that updates `last_used_at`.
    """
    if not TOKEN_PATTERN.fullmatch(plaintext):
        return None
    now = timezone.now()
    found = _find_token(digest(plaintext), now)
    level = found and (Role.ADMIN if found.is_superuser else found.owner_level)
    if found is None or not level:
        return None
    _update_last_used(found.id, found.last_used_at, now)
    user = User.from_db(connection.alias, OWNER_COLUMNS, found[: len(OWNER_COLUMNS)])  # other fields stay deferred
    role = min(Role(level), Role.from_name(found.scope))
    return Principal(user, role, token_actor(found.username, found.name), found.prefix)


class TokenRow(NamedTuple):
    """`owner_level` is None when the owner has no role."""

    owner_id: int
    is_superuser: bool
    username: str
    owner_level: int | None
    id: int
    name: str
    scope: str
    prefix: str
    last_used_at: datetime | None


def _find_token(hashed: str, now: datetime) -> TokenRow | None:
    sql, parameters = _lookup_sql()
    adapt = connection.ops.adapt_datetimefield_value
    values = {ANY_DIGEST: hashed, adapt(ANY_TIME): adapt(now)}
    with connection.cursor() as cursor:
        cursor.execute(sql, [values.get(parameter, parameter) for parameter in parameters])
        row = cursor.fetchone()
    return TokenRow(*row) if row else None


@cache
def _lookup_sql() -> tuple[str, tuple[Any, ...]]:
    # Compiled once: that takes Django 1.1 ms, the database a tenth of it. So no request needs a cached result,
    # and a revoked token is refused at once.
    not_expired = Q(expires_at=None) | Q(expires_at__gt=ANY_TIME)
    found = ApiToken.objects.filter(not_expired, digest=ANY_DIGEST, user__is_active=True).order_by()
    columns = ("id", "name", "scope", "prefix", "last_used_at")
    owner = (f"user__{name}" for name in OWNER_COLUMNS)
    return found.values_list(*owner, _owner_level(), *columns).query.sql_with_params()


def _owner_level() -> RawSQL:
    sql, values = role_level_query(ANY_USER).query.sql_with_params()
    owner = f"{connection.ops.quote_name(User._meta.db_table)}.{connection.ops.quote_name('id')}"
    with_owner = sql % tuple(owner if value == ANY_USER else "%s" for value in values)
    return RawSQL(with_owner, [value for value in values if value != ANY_USER])  # noqa: S611  (contains no input)


def _update_last_used(token_id: int, last_used_at: datetime | None, now: datetime) -> None:
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USED_PRECISION)
    if last_used_at is None or in_utc(last_used_at) <= now - LAST_USED_PRECISION:
        ApiToken.objects.filter(stale, pk=token_id).update(last_used_at=now)
