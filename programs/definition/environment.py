"""The environment of a program: secret values are encrypted in the database and masked everywhere else.

A stored variable is `{"name", "value"}`, or `{"name", "secret": true, "encrypted"}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from core import secrets
from programs.models import Program

from .values import SET, EnvironmentEntry


def environment_of(program: Program) -> dict[str, str]:
    """The variables in clear, for the program itself. Raises SecretUnreadableError."""
    return {
        entry["name"]: secrets.decrypt(entry["encrypted"]) if entry.get("secret") else entry["value"]
        for entry in program.environment
    }


def secret_values(program: Program) -> list[str]:
    """What must never be shown: the clear values of the secret variables. Raises SecretUnreadableError."""
    return [secrets.decrypt(entry["encrypted"]) for entry in program.environment if entry.get("secret")]


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


def has_new_secret(given: Iterable[Mapping[str, Any]]) -> bool:
    """Whether it sets a secret value, which the masked JSON before and after doesn't show."""
    return any(entry.get("secret") and entry.get("value") != SET for entry in given)


def mask_names(shown: Iterable[Mapping[str, Any]], names: set[str]) -> list[dict[str, Any]]:
    return [{**entry, "value": SET} if entry["name"] in names else dict(entry) for entry in shown]
