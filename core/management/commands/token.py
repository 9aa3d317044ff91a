from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from core.access import Role, TokenError, command_actor, create_token, revoke_token
from core.models import ApiToken
from core.timeformat import local_time


class Command(BaseCommand):
    help = "Creates, lists and revokes API tokens."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="create a token and print it")
        create.add_argument("--user", required=True, metavar="NAME", help="the owner, whose role limits the token")
        create.add_argument("--scope", required=True, choices=[str(role) for role in Role])
        create.add_argument(
            "--name", default="command line", help="a name to recognise it by (default: %(default)s)"
        )
        create.add_argument("--expires-days", type=float, metavar="DAYS", help="default: never")
        listing = verbs.add_parser("list", help="list all tokens without their secret part")
        listing.add_argument("--json", action="store_true")
        revoke = verbs.add_parser("revoke", help="revoke a token")
        revoke.add_argument("prefix", metavar="PREFIX", help="the prefix of the token, such as pm_1a2b3c4d")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        verbs: dict[str, Callable[..., None]] = {
            "create": self.create,
            "list": self.list,
            "revoke": self.revoke,
        }
        verbs[verb](**options)

    def create(self, *, user: str, scope: str, name: str, expires_days: float | None, **_: Any) -> None:
        owner = User.objects.filter(username=user).first()
        if owner is None:
            raise CommandError(f"There is no user {user}.")
        try:
            until = None if expires_days is None else timezone.now() + timedelta(days=expires_days)
            token, plaintext = create_token(owner, name, Role.from_name(scope), until, actor=command_actor())
        except TokenError as error:
            raise CommandError(str(error)) from error
        except (OverflowError, ValueError) as error:
            raise CommandError(f"--expires-days {expires_days} is out of range.") from error
        self.stderr.write(f"Created {token} with scope {scope}. It is shown only once:")
        self.stdout.write(plaintext)

    def list(self, *, json: bool, **_: Any) -> None:
        tokens = [_as_json(token) for token in ApiToken.objects.select_related("user")]
        if json:
            self.stdout.write(_dumps(tokens))
            return
        for token in tokens:
            self.stdout.write(
                "{prefix}  {scope:<8} {user:<20} {name:<24} {usage}".format(**token, usage=_usage(token))
            )

    def revoke(self, *, prefix: str, **_: Any) -> None:
        found = ApiToken.objects.select_related("user").filter(prefix__in=[prefix, f"pm_{prefix}"])
        if not found:
            raise CommandError(f"No token has the prefix {prefix}. `manage.py token list` shows all.")
        for token in found:
            revoke_token(token, actor=command_actor())
            self.stderr.write(f"Revoked {token} of {token.user.get_username()}.")


def _dumps(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _as_json(token: ApiToken) -> dict[str, Any]:
    timestamps = {
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
    }
    return {
        "prefix": token.prefix,
        "name": token.name,
        "user": token.user.get_username(),
        "scope": token.scope,
        **{name: at.isoformat() if at else None for name, at in timestamps.items()},
    }


def _usage(token: dict[str, Any]) -> str:
    used = f"used {_local(token['last_used_at'])}" if token["last_used_at"] else "never used"
    return f"{used}, expires {_local(token['expires_at'])}" if token["expires_at"] else used


def _local(timestamp: str) -> str:
    return f"{local_time(datetime.fromisoformat(timestamp)):%Y-%m-%d %H:%M %Z}"
