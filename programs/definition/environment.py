"""The environment of a program: secret values are encrypted in the database and masked everywhere else.

A stored variable is `{"name", "value"}`, or `{"name", "secret": true, "encrypted"}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from core import secrets
from core.secret_mask import HideAll, SecretMask
from core.secrets import SecretUnreadableError
from programs.models import Program
from programs.placeholders import fill

from .values import SET, EnvironmentEntry

MAX_REPLACED_SECRETS = 100
UNREADABLE_SECRETS = "(hidden: the secrets of the program cannot be decrypted, so they cannot be masked)"


def environment_of(program: Program, index: int = 0) -> dict[str, str]:
    """The variables in clear, for the instance `index`. Raises SecretUnreadableError, PlaceholderError.

    Fills in placeholders in plain values only: a secret is passed on unchanged, and no error may quote it.
    """
    return {
        entry["name"]: secrets.decrypt(entry["encrypted"]) if entry.get("secret") else fill(entry["value"], index)
        for entry in program.environment
    }


def secret_values(program: Program) -> list[str]:
    """What must never be shown: the clear values of the secret variables, current and replaced.

    Raises SecretUnreadableError.
    """
    return [secrets.decrypt(token) for token in (*_secret_tokens(program.environment), *program.replaced_secrets)]


def _secret_tokens(variables: Iterable[Mapping[str, Any]]) -> list[str]:
    return [entry["encrypted"] for entry in variables if entry.get("secret")]


def secret_mask(program: Program) -> SecretMask:
    """Masks the program's secrets in its output; hides all of it when they cannot be decrypted."""
    try:
        return SecretMask(secret_values(program))
    except (SecretUnreadableError, OSError):  # OSError: the key file cannot be read, or others can read it
        return HideAll(UNREADABLE_SECRETS)


def masked(stored: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": entry["name"], "value": SET, "secret": True}
        if entry.get("secret")
        else {"name": entry["name"], "value": entry["value"]}
        for entry in stored
    ]


def to_store(given: Any, stored: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The variables as the database holds them. Raises ValidationError.

    Encrypts secret values; `{"set": true}` keeps the one that is stored under the same name.
    """
    if not isinstance(given, list):
        raise ValidationError('Must be a list of {"name": …, "value": …}.')
    kept = {entry["name"]: dict(entry) for entry in stored if entry.get("secret")}
    return [_entry_to_store(EnvironmentEntry.from_json(entry), kept) for entry in given]


def _entry_to_store(entry: EnvironmentEntry, kept: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    if not entry.secret:
        return {"name": entry.name, "value": entry.value}
    if isinstance(entry.value, str):
        return {"name": entry.name, "secret": True, "encrypted": secrets.encrypt(entry.value)}
    if entry.name not in kept:
        raise ValidationError(f"{entry.name} has no stored value to keep; send its value.")
    return kept[entry.name]


def replaced_secrets(program: Program, stored: Iterable[Mapping[str, Any]]) -> list[str]:
    """The newest MAX_REPLACED_SECRETS former values, encrypted, after `program.environment` replaced `stored`.

    Leaves out values that are in use, and values that a plain variable shows by now.
    """
    known = {entry.get("value") for entry in program.environment}
    known |= {_decrypted(token) for token in _secret_tokens(program.environment)}
    kept: list[str] = []
    for token in reversed([*program.replaced_secrets, *_secret_tokens(stored)]):
        # One that can no longer be decrypted would hide all lines for ever.
        value = _decrypted(token)
        if value and value not in known:
            kept.append(token)
            known.add(value)
    return kept[MAX_REPLACED_SECRETS - 1 :: -1]


def _decrypted(token: str) -> str | None:
    try:
        return secrets.decrypt(token)
    except SecretUnreadableError:
        return None


def has_new_secret(given: Iterable[Mapping[str, Any]]) -> bool:
    """Whether it sets a secret value, which the masked JSON before and after doesn't show."""
    return any(entry.get("secret") and entry.get("value") != SET for entry in given)


def mask_names(shown: Iterable[Mapping[str, Any]], names: set[str]) -> list[dict[str, Any]]:
    return [{**entry, "value": SET} if entry["name"] in names else dict(entry) for entry in shown]
