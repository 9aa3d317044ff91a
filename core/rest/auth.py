"""Who calls: a bearer token first, else the admin's session with its CSRF token.

A router names the role each operation needs: `@router.get("/things", auth=authority.READ)`. The operation then
finds the caller as `request.auth`, a `core.access.Principal`.
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from ninja.errors import AuthenticationError, AuthorizationError
from ninja.security import HttpBearer
from ninja.security.apikey import APIKeyCookie
from ninja.utils import check_csrf

from core.access import Principal, Role, authenticate_token

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class AuthedRequest(HttpRequest):
    """A request that was let in."""

    auth: Principal


class Token(HttpBearer):
    """`Authorization: Bearer pm_…`. A wrong token is refused; it does not fall back to the session."""

    def __init__(self, role: Role) -> None:
        super().__init__()
        self.role = role

    def authenticate(self, request: HttpRequest, token: str) -> Principal:
        principal = authenticate_token(token.strip())
        if principal is None:
            raise AuthenticationError(message="This token is unknown, expired or revoked.")
        return admitted(principal, self.role)


class Session(APIKeyCookie):
    """The log-in of the admin. Anything but a read also needs the X-CSRFToken header."""

    param_name = settings.SESSION_COOKIE_NAME

    def __init__(self, role: Role) -> None:
        super().__init__()
        self.role = role

    def __call__(self, request: HttpRequest) -> Principal | None:
        # Ninja would look at the CSRF token first and answer 403 to strangers, who should hear 401.
        return self.authenticate(request, None)

    def authenticate(self, request: HttpRequest, key: str | None) -> Principal | None:
        if not request.user.is_authenticated:
            return None
        if request.method not in SAFE_METHODS and check_csrf(request):
            raise AuthorizationError(message="The CSRF token is missing or wrong; send it as X-CSRFToken.")
        principal = Principal.of_user(request.user)
        if principal is None:
            raise AuthorizationError(message="This account has no role in the monitor.")
        return admitted(principal, self.role)


def admitted(principal: Principal, role: Role) -> Principal:
    """`principal` when its role suffices. Raises AuthorizationError."""
    if not principal.may(role):
        raise AuthorizationError(message=f"This needs the role {role}; {principal.actor} has {principal.role}.")
    return principal


def needs(role: Role) -> list[Token | Session]:
    return [Token(role), Session(role)]


READ = needs(Role.READ)
OPERATE = needs(Role.OPERATE)
ADMIN = needs(Role.ADMIN)
