"""What a caller shows: kept by long-lived connections, which look again and again whether it still counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, parse_cookie

from core.access import Principal, authenticate_token


@dataclass(frozen=True)
class Credentials:
    token: str | None
    session_key: str | None

    @classmethod
    def of_request(cls, request: HttpRequest) -> Credentials:
        return cls.of_headers(
            {
                "authorization": request.headers.get("Authorization", ""),
                "cookie": request.headers.get("Cookie", ""),
            }
        )

    @classmethod
    def of_headers(cls, headers: Mapping[str, str]) -> Credentials:
        """`headers` by lower-case name. As with requests, a token takes precedence over a session."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return cls(token.strip(), None)
        cookies = parse_cookie(headers.get("cookie", ""))
        return cls(None, cookies.get(settings.SESSION_COOKIE_NAME))

    def principal(self) -> Principal | None:
        """Whoever this is at this moment; None once it is revoked, expired, logged out or without a role."""
        if self.token is not None:
            return authenticate_token(self.token)
        if not self.session_key:
            return None
        request = HttpRequest()
        request.session = import_module(settings.SESSION_ENGINE).SessionStore(self.session_key)
        return Principal.of_user(get_user(request))
