"""Authentication and required roles of API routes, streams and websockets.

A route names the role it requires, `@router.get("/things", auth=auth.READ)`; `request.auth` is the caller.
A bearer token takes precedence over the session of the admin, which also needs a CSRF token for changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, parse_cookie
from django.http.request import split_domain_port, validate_host
from ninja.errors import AuthenticationError, AuthorizationError
from ninja.security import HttpBearer
from ninja.security.apikey import APIKeyCookie
from ninja.utils import check_csrf

from core.access import Principal, Role, authenticate_token

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
DEFAULT_PORTS = {"http": 80, "https": 443}


class AuthedRequest(HttpRequest):
    """The request that a route gets after authentication."""

    auth: Principal


class BearerAuth(HttpBearer):
    """`Authorization: Bearer pm_…`. An invalid token is an error, even if there is a session as well."""

    def __init__(self, role: Role) -> None:
        super().__init__()
        self.role = role

    def authenticate(self, request: HttpRequest, token: str) -> Principal:
        principal = authenticate_token(token.strip())
        if principal is None:
            raise AuthenticationError(message="This token is unknown, expired or revoked.")
        return require_role(principal, self.role)


class SessionAuth(APIKeyCookie):
    """The login session of the admin. All methods except reads also need the X-CSRFToken header."""

    param_name = settings.SESSION_COOKIE_NAME

    def __init__(self, role: Role) -> None:
        super().__init__()
        self.role = role

    def __call__(self, request: HttpRequest) -> Principal | None:
        # Ninja would check the CSRF token first and send anonymous users 403 instead of 401.
        return self.authenticate(request, None)

    def authenticate(self, request: HttpRequest, key: str | None) -> Principal | None:
        if not request.user.is_authenticated:
            return None
        if request.method not in SAFE_METHODS and check_csrf(request):
            raise AuthorizationError(message="The CSRF token is missing or wrong; send it as X-CSRFToken.")
        principal = Principal.from_user(request.user)
        if principal is None:
            raise AuthorizationError(message="This account has no role. Ask an administrator for one.")
        return require_role(principal, self.role)


def require_role(principal: Principal, role: Role) -> Principal:
    """Raises AuthorizationError when the principal's role is lower."""
    if not principal.has_role(role):
        raise AuthorizationError(message=f"This requires the role {role}; {principal.actor} has {principal.role}.")
    return principal


def role_auth(role: Role) -> list[BearerAuth | SessionAuth]:
    return [BearerAuth(role), SessionAuth(role)]


READ = role_auth(Role.READ)
OPERATE = role_auth(Role.OPERATE)
ADMIN = role_auth(Role.ADMIN)


# --- Streams and websockets -----------------------------------------------------------------------------


@dataclass(frozen=True)
class StreamCredentials:
    """The token or session of a long-lived connection, which checks regularly that it is still valid."""

    token: str | None
    session_key: str | None

    @classmethod
    def from_request(cls, request: HttpRequest) -> StreamCredentials:
        return cls.from_headers(
            {
                "authorization": request.headers.get("Authorization", ""),
                "cookie": request.headers.get("Cookie", ""),
            }
        )

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> StreamCredentials:
        """`headers` by lower-case name."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return cls(token.strip(), None)
        cookies = parse_cookie(headers.get("cookie", ""))
        return cls(None, cookies.get(settings.SESSION_COOKIE_NAME))

    def principal(self) -> Principal | None:
        """Looks up the present principal; None once it is revoked, expired, logged out or without a role."""
        if self.token is not None:
            return authenticate_token(self.token)
        if not self.session_key:
            return None
        request = HttpRequest()
        request.session = import_module(settings.SESSION_ENGINE).SessionStore(self.session_key)
        return Principal.from_user(get_user(request))


def is_own_origin(headers: Mapping[str, str]) -> bool:
    """Whether a page of this site opens the websocket: browsers let any page open one and send the cookies along.

    `Origin` must have the scheme, host and port of the request, or be in CSRF_TRUSTED_ORIGINS. False without an
    `Origin`. `headers` by lower-case name.
    """
    origin, host = headers.get("origin", ""), headers.get("host", "")
    if not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        return False
    given = _origin_parts(origin)
    is_same = given is not None and given == _origin_parts(f"{_request_scheme(headers)}://{host}")
    return is_same or origin in settings.CSRF_TRUSTED_ORIGINS


def _request_scheme(headers: Mapping[str, str]) -> str:
    if settings.SECURE_PROXY_SSL_HEADER is None:
        return "http"
    name, secure = settings.SECURE_PROXY_SSL_HEADER
    given = headers.get(name.removeprefix("HTTP_").replace("_", "-").lower(), "")
    return "https" if given.split(",")[0].strip() == secure else "http"


def _origin_parts(address: str) -> tuple[str, str | None, int | None] | None:
    try:
        parts = urlsplit(address)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
