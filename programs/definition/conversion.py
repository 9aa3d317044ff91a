"""Converts between a `Program` and the JSON of its definition, the body of POST /api/programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError

from programs.models import Host, Program

from . import environment
from .fields import FIELDS, PLAIN_FIELDS
from .values import Probe


def definition_json(program: Program) -> dict[str, Any]:
    """Every field of the definition; secret values only say that they are set.

    Reads `host` and `dependencies__requires`: prefetch them for lists.
    """
    shown: dict[str, Any] = {field: getattr(program, field) for field in PLAIN_FIELDS}
    shown["host"] = program.host.name if program.host else None
    shown["environment"] = environment.masked(program.environment)
    shown["depends_on"] = [
        {"program": needed.requires.name, "condition": needed.condition} for needed in program.dependencies.all()
    ]
    return shown


def assign(program: Program, values: Mapping[str, Any]) -> None:
    """Sets all fields but `depends_on`; saves nothing. Raises ValidationError once it has set what it could."""
    errors: dict[str, Any] = dict.fromkeys(sorted(values.keys() - set(FIELDS)), "There is no such field.")
    # Unchecked: the validators of the columns see them in full_clean, and report all errors together.
    for field in PLAIN_FIELDS:
        if field in values:
            setattr(program, field, values[field])
    if isinstance(values.get("probes"), list):
        program.probes = [_with_defaults(probe) for probe in values["probes"]]
    try:
        if "host" in values:
            program.host = _host(values["host"])
    except ValidationError as error:
        errors["host"] = error.messages
    try:
        if "environment" in values:
            stored = program.environment
            program.environment = environment.to_store(values["environment"], stored)
            program.replaced_secrets = environment.replaced_secrets(program, stored)
    except ValidationError as error:
        errors["environment"] = error.messages
    if errors:
        raise ValidationError(errors)


def _with_defaults(probe: Any) -> Any:
    try:
        return Probe.from_json(probe).as_json()
    except ValidationError:
        return probe  # the validator of the column reports it, together with what is wrong elsewhere


def _host(name: str | None) -> Host | None:
    if name is None:
        return None
    host = Host.objects.filter(name=name).first()
    if host is None:
        raise ValidationError(f"There is no host {name}.")
    return host


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Field → [before, after] for what differs between two definitions as JSON.

    Masks the old value of a variable that has become a secret: the change is shown to everyone who reads events.
    """
    secret = {entry["name"] for entry in after["environment"] if entry.get("secret")}
    shown = {**before, "environment": environment.mask_names(before.get("environment", []), secret)}
    return {field: [shown.get(field), after[field]] for field in after if before.get(field) != after[field]}
