"""The records inside a definition: probes, stop steps, environment variables and dependencies.

Each class states the fields, defaults and limits of one record. The API's schemas, the YAML format and the form
rows are derived from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from django.core.exceptions import ValidationError
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from .syntax import check_address, check_url, signal_number, split_command
from .types import FieldInfo, Mark, Seconds, SecretText, fields_of, plain

RESERVED_VARIABLE = "PROGRAM_MONITOR"
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SET = {"set": True}


class Condition(TextChoices):
    STARTED = "started", _("started")
    HEALTHY = "healthy", _("healthy")


@dataclass(frozen=True)
class Record:
    """`noun` names the record in error messages."""

    noun: ClassVar[str]

    @classmethod
    def from_json(cls, entry: Any) -> Self:
        """Raises ValidationError: unknown or missing fields, wrong types, values out of range."""
        known = {field.name: field for field in fields_of(cls)}
        required = {field.name for field in known.values() if field.is_required}
        if not isinstance(entry, Mapping) or not required <= entry.keys() <= known.keys():
            raise ValidationError(f"{cls.noun} must be an object with {_listed(known.values())}.")
        for key, value in entry.items():
            if not _fits(known[key], value):
                raise ValidationError(f"{cls.noun}: {key} can't be {value!r}.")
        record = cls(**entry)
        record.check()
        return record

    def check(self) -> None:
        """Raises ValidationError for what the types alone don't rule out."""

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = plain(self)
        return shown


def _listed(fields: Any) -> str:
    names = [field.name if field.is_required else f"{field.name} (optional)" for field in fields]
    return ", ".join(names[:-1]) + f" and {names[-1]}"


def _fits(field: FieldInfo, value: Any) -> bool:
    if field.type.choices:
        return value in field.type.choices
    if field.type.mark is Mark.SECRET and value == SET:
        return True
    return _FITS[field.type.base](value)


_FITS: dict[type, Callable[[Any], bool]] = {
    str: lambda value: isinstance(value, str),
    bool: lambda value: isinstance(value, bool),
    int: lambda value: type(value) is int,  # True is an int to isinstance
    float: lambda value: type(value) in (int, float),
}


@dataclass(frozen=True)
class EnvironmentEntry(Record):
    """A variable as the API shows and takes it; `definition.environment` knows how it is stored."""

    noun = "A variable"

    name: str
    value: SecretText
    secret: bool = False

    def check(self) -> None:
        if not VARIABLE_NAME.fullmatch(self.name):
            raise ValidationError(f"{self.name!r} isn't a variable name. Use letters, digits and _.")
        if self.name == RESERVED_VARIABLE:
            raise ValidationError(f"{RESERVED_VARIABLE} is reserved for the monitor.")
        if self.is_kept and not self.secret:
            raise ValidationError(f"{self.name} has no value.")
        if "\x00" in self.value:
            raise ValidationError(f"{self.name} contains a NUL character.")

    @property
    def is_kept(self) -> bool:
        """Whether it stands for the secret value that is stored already."""
        return not isinstance(self.value, str)


@dataclass(frozen=True)
class StopStep(Record):
    """`step` is `KIND:ARGUMENT`; `seconds` is how long to wait for the program to stop before the next one."""

    noun = "A stop step"
    KINDS: ClassVar = ("stdin", "signal", "command", "http")

    step: str
    seconds: Seconds

    @property
    def kind(self) -> str:
        return self.step.partition(":")[0]

    @property
    def argument(self) -> str:
        return self.step.partition(":")[2]

    def check(self) -> None:
        if not 0 <= self.seconds <= 3600:
            raise ValidationError(f"{self.step}: seconds must be between 0 and 3600.")
        if self.kind not in self.KINDS or not self.argument:
            known = ", ".join(f"{kind}:…" for kind in self.KINDS)
            raise ValidationError(f"{self.step!r} isn't a stop step. Use {known}.")
        if self.kind in _STEP_ARGUMENTS:
            _STEP_ARGUMENTS[self.kind](self.argument)


_STEP_ARGUMENTS: dict[str, Callable[[str], Any]] = {
    "signal": signal_number,
    "command": split_command,
    "http": check_url,
}


@dataclass(frozen=True)
class DependencyEntry(Record):
    noun = "A dependency"

    program: str
    condition: Condition = Condition.STARTED


@dataclass(frozen=True)
class Probe(Record):
    """`failures` in a row make the program unhealthy."""

    noun = "A probe"
    LIMITS: ClassVar = {"period": (1, 86_400), "timeout": (0.1, 300), "failures": (1, 1000)}

    kind: Literal["http", "tcp", "exec", "log"]
    target: str
    purpose: Literal["liveness", "readiness"] = "liveness"
    period: Seconds = 10
    timeout: Seconds = 1
    failures: int = 3

    def check(self) -> None:
        if not self.target.strip():
            raise ValidationError("A probe needs a target.")
        for name, (lowest, highest) in self.LIMITS.items():
            if not lowest <= getattr(self, name) <= highest:
                raise ValidationError(f"A probe's {name} must be between {lowest} and {highest}.")
        if self.kind in _PROBE_TARGETS:
            _PROBE_TARGETS[self.kind](self.target)


_PROBE_TARGETS: dict[str, Callable[[str], Any]] = {
    "http": check_url,
    "tcp": check_address,
    "exec": split_command,
}
