"""The definition as JSON, to and from a Program. Shapes: docs/programs.md; the JSON of POST /api/programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from core import secrets
from core.secret_mask import HideAll, SecretMask
from core.secrets import SecretUnreadableError

from . import validation
from .models import Dependency, Host, Program
from .placeholders import fill

RESTART_FIELDS = frozenset(
    {
        "command",
        "shell",
        "working_directory",
        "environment",
        "stdin",
        "user",
        "umask",
        "nice",
        "max_open_files",
        "host",
    }
)
PLAIN_FIELDS = (
    "name", "command", "shell", "description", "tags", "working_directory", "stdin", "user", "umask", "nice",
    "max_open_files", "max_memory_bytes", "autostart", "restart_policy", "success_exit_codes", "start_seconds",
    "backoff_initial", "backoff_factor", "backoff_max", "backoff_jitter", "stable_seconds", "max_restarts",
    "restart_window", "restart_cron", "stop_ladder", "instances_min", "instances_max", "scale_cpu_percent",
    "probes", "log_max_bytes", "log_backups", "log_compress",
)  # fmt: skip
FIELDS = (*PLAIN_FIELDS, "host", "environment", "depends_on")
SET = {"set": True}
MAX_REPLACED_SECRETS = 100
PROBE_DEFAULTS = {"purpose": "liveness", "period": 10, "timeout": 1, "failures": 3}


def applies(field: str) -> str:
    """Whether a changed field takes effect `live` or at the next `restart` of the program."""
    return "restart" if field in RESTART_FIELDS else "live"


def as_json(program: Program) -> dict[str, Any]:
    """Every field of the definition; secret values only say that they are set.

    Reads `host` and `dependencies__requires`: prefetch them for lists.
    """
    shown: dict[str, Any] = {field: getattr(program, field) for field in PLAIN_FIELDS}
    shown["host"] = program.host.name if program.host else None
    shown["environment"] = [_shown_entry(entry) for entry in program.environment]
    shown["depends_on"] = [
        {"program": needed.requires.name, "condition": needed.condition} for needed in program.dependencies.all()
    ]
    return shown


def _shown_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    if entry.get("secret"):
        return {"name": entry["name"], "value": SET, "secret": True}
    return {"name": entry["name"], "value": entry["value"]}


def environment_of(program: Program, index: int = 0) -> dict[str, str]:
    """The variables in clear, for the instance `index`. Raises SecretUnreadableError, PlaceholderError.

    Placeholders are filled in plain values only: a secret is passed on as it is, and no error may quote it.
    """
    return {
        entry["name"]: secrets.decrypt(entry["encrypted"]) if entry.get("secret") else fill(entry["value"], index)
        for entry in program.environment
    }


def secret_values(program: Program) -> list[str]:
    """What must never be shown: the clear values of the secret variables, now and before they were replaced."""
    return [secrets.decrypt(token) for token in (*_secret_tokens(program.environment), *program.replaced_secrets)]


def _secret_tokens(environment: Iterable[Mapping[str, Any]]) -> list[str]:
    return [entry["encrypted"] for entry in environment if entry.get("secret")]


UNREADABLE_SECRETS = "(hidden: the secrets of the program cannot be decrypted, so they cannot be masked)"


def secret_mask(program: Program) -> SecretMask:
    """Masks the program's secrets in its output; hides all of it when they cannot be decrypted."""
    try:
        return SecretMask(secret_values(program))
    except (SecretUnreadableError, OSError):  # OSError: the key file cannot be read, or others can read it
        return HideAll(UNREADABLE_SECRETS)


def assign(program: Program, values: Mapping[str, Any]) -> None:
    """Puts plain fields, host and environment on `program`; nothing is saved. Raises ValidationError."""
    if unknown := values.keys() - set(FIELDS):
        raise ValidationError(dict.fromkeys(sorted(unknown), "There is no such field."))
    for field in PLAIN_FIELDS:
        if field in values:
            setattr(program, field, values[field])
    if "probes" in values and isinstance(values["probes"], list):
        program.probes = [{**PROBE_DEFAULTS, **p} if isinstance(p, dict) else p for p in values["probes"]]
    if "host" in values:
        program.host = _host(values["host"])
    if "environment" in values:
        stored = program.environment
        program.environment = _stored_environment(values["environment"], stored)
        program.replaced_secrets = _replaced_secrets(program, stored)


def _host(name: str | None) -> Host | None:
    if name is None:
        return None
    host = Host.objects.filter(name=name).first()
    if host is None:
        raise ValidationError({"host": f"There is no host {name}."})
    return host


def _stored_environment(given: Any, stored: list[dict[str, Any]]) -> Any:
    """Encrypts secret values; `{"set": true}` keeps the value that is stored under the same name."""
    if not isinstance(given, list):
        raise ValidationError({"environment": 'Must be a list of {"name": …, "value": …}.'})
    kept = {entry["name"]: entry for entry in stored if entry.get("secret")}
    return [_stored_entry(entry, kept) for entry in given]


def _stored_entry(entry: Any, kept: dict[str, dict[str, Any]]) -> Any:
    if not isinstance(entry, Mapping) or not entry.get("secret"):
        return (
            entry if not isinstance(entry, Mapping) else {"name": entry.get("name"), "value": entry.get("value")}
        )
    name, value = entry.get("name"), entry.get("value")
    if value == SET:
        if name not in kept:
            raise ValidationError({"environment": f"{name} has no stored value to keep; give its value."})
        return kept[str(name)]
    if not isinstance(value, str):
        raise ValidationError({"environment": f"{name} has no value."})
    return {"name": name, "secret": True, "encrypted": secrets.encrypt(value)}


def _replaced_secrets(program: Program, stored: list[dict[str, Any]]) -> list[str]:
    """The newest MAX_REPLACED_SECRETS former values. Leaves out those that are in use, or public by now."""
    valid = [entry for entry in program.environment if isinstance(entry, Mapping)]
    known = {entry.get("value") for entry in valid} | {_clear(token) for token in _secret_tokens(valid)}
    kept: list[str] = []
    for token in reversed([*program.replaced_secrets, *_secret_tokens(stored)]):
        # One that cannot be decrypted any more would hide all lines for ever.
        value = _clear(token)
        if value and value not in known:
            kept.append(token)
            known.add(value)
    return kept[MAX_REPLACED_SECRETS - 1 :: -1]


def _clear(token: str) -> str | None:
    try:
        return secrets.decrypt(token)
    except SecretUnreadableError:
        return None


def assign_dependencies(program: Program, wanted: Iterable[Any]) -> None:
    """Replaces the dependencies of the saved `program`. Raises ValidationError: unknown name, itself, a circle."""
    try:
        rows = [_dependency(program, entry) for entry in wanted]
        if len({row.requires_id for row in rows}) != len(rows):
            raise ValidationError("A program stands twice.")
        others = Dependency.objects.exclude(program=program).select_related("program", "requires")
        requires: dict[str, set[str]] = {}
        for row in [*others, *rows]:
            requires.setdefault(row.program.name, set()).add(row.requires.name)
        validation.no_circle(program.name, requires)
    except ValidationError as error:
        raise ValidationError({"depends_on": error.messages}) from error
    program.dependencies.all().delete()
    Dependency.objects.bulk_create(rows)


def _dependency(program: Program, entry: Any) -> Dependency:
    if not isinstance(entry, Mapping) or not {"program"} <= entry.keys() <= {"program", "condition"}:
        raise ValidationError('Each entry is {"program": name, "condition": "started" or "healthy"}.')
    requires = Program.objects.filter(name=entry["program"]).first()
    if requires is None:
        raise ValidationError(f"There is no program {entry['program']}.")
    default = Host.objects.filter(is_default=True).values_list("pk", flat=True).first()
    if (requires.host_id or default) != (program.host_id or default):
        raise ValidationError(f"{requires.name} runs on another host: an agent sees only its own programs.")
    condition = entry.get("condition", Dependency.Condition.STARTED)
    if condition not in Dependency.Condition.values:
        raise ValidationError(f"{condition!r} is no condition; write started or healthy.")
    return Dependency(program=program, requires=requires, condition=condition)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Field → [before, after] for what differs between two definitions as JSON.

    What a variable held before it became a secret is not told: the change goes to everybody who hears of events.
    """
    told = {**before, "environment": _without(before.get("environment", []), _secret_names(after))}
    return {field: [told.get(field), after[field]] for field in after if before.get(field) != after[field]}


def _secret_names(shown: Mapping[str, Any]) -> set[str]:
    return {entry["name"] for entry in shown["environment"] if entry.get("secret")}


def _without(environment: Iterable[Mapping[str, Any]], names: set[str]) -> list[dict[str, Any]]:
    return [{**entry, "value": SET} if entry["name"] in names else dict(entry) for entry in environment]
