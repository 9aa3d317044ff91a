"""The one who asks: a person, or a token of theirs, with the role that counts for this request."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import AnonymousUser, User

from .roles import Role, role_of

ACTOR_LENGTH = 150  # the columns that hold an actor


@dataclass(frozen=True)
class Principal:
    user: User
    role: Role
    actor: str  # how records name them: "alice" or "alice (token backup-script)"
    token_prefix: str = ""  # "pm_1a2b3c4d", or "" for a session

    @classmethod
    def of_user(cls, user: User | AnonymousUser) -> Principal | None:
        """The person behind a session; None without any role."""
        role = role_of(user)
        if role is None or isinstance(user, AnonymousUser):
            return None
        return cls(user=user, role=role, actor=user.get_username()[:ACTOR_LENGTH])

    def may(self, role: Role) -> bool:
        return self.role >= role


def token_actor(username: str, token_name: str) -> str:
    """The name of a token in records; a long user name gives way, so the token stays readable."""
    suffix = f" (token {token_name})"
    return username[: ACTOR_LENGTH - len(suffix)] + suffix
