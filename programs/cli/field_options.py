"""The options of `program add`: one for each field of a definition, made from the model's own fields."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models

from core.cli.terminal import Options
from programs import definition
from programs.models import Program

from . import value_parsers

POSITIONAL = ("name", "command")
DESTINATION = "field_{}"


@dataclass(frozen=True)
class FieldOption:
    """How one field is given. `is_repeatable`: each use adds one entry to the field's list."""

    field: str
    flag: str
    convert: Callable[[str], Any] = str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    is_repeatable: bool = False
    is_switch: bool = False
    help: str = ""

    def add_to(self, parser: ArgumentParser) -> None:
        common: dict[str, Any] = {"dest": DESTINATION.format(self.field), "help": self.help.replace("%", "%%")}
        if self.is_switch:
            parser.add_argument(self.flag, action=BooleanOptionalAction, default=None, **common)
            return
        action = "append" if self.is_repeatable else "store"
        parser.add_argument(
            self.flag, action=action, type=self.convert, metavar=self.metavar, choices=self.choices, **common
        )


def _many(
    field: str,
    flag: str,
    convert: Callable[[str], Any],
    metavar: str,
    help: str,  # noqa: A002
) -> FieldOption:
    return FieldOption(field, flag, convert, metavar, is_repeatable=True, help=help)


LISTS = {
    option.field: option
    for option in (
        _many("tags", "--tag", str, "TAG", "a word to filter and act by"),
        _many("environment", "--env", value_parsers.variable, "NAME=VALUE", "a variable of its environment"),
        _many("success_exit_codes", "--success-exit-code", int, "CODE", "an end with it is expected (default: 0)"),
        _many("stop_ladder", "--stop-step", value_parsers.stop_step, "STEP:SECONDS", value_parsers.STOP_STEP_HELP),
        _many(
            "depends_on", "--depends-on", value_parsers.dependency, "NAME[:healthy]", value_parsers.DEPENDENCY_HELP
        ),
        _many("probes", "--probe", value_parsers.probe, "KIND[,…]:TARGET", value_parsers.PROBE_HELP),
    )
}

HELP = {
    "description": "for people: what it is, whom to ask",
    "shell": "hand the command to /bin/sh, for pipes and variables",
    "host": "the machine whose agent runs it (default: the first one known)",
    "working_directory": "where it starts (default: the monitor's data folder)",
    "stdin": "console: lines can be typed in with `program input`",
    "user": "run as this user; the monitor must be root's",
    "umask": "three octal digits, such as 022",
    "nice": "from -20 (first served) to 19",
    "max_open_files": "how many files and sockets each instance may hold open",
    "max_memory_bytes": "restart an instance that holds more, such as 512M",
    "autostart": "start it when it is defined and at boot",
    "restart_policy": "what happens when it ends by itself",
    "start_seconds": "it must live this long to count as running",
    "backoff_initial": "the second restart waits this long; the first is immediate",
    "backoff_factor": "each further pause is longer by this factor",
    "backoff_max": "the longest pause",
    "backoff_jitter": "spread of pauses, as a share of 1",
    "stable_seconds": "after this long without trouble the pauses begin anew",
    "max_restarts": "so many within the window make it fatal; 0: never",
    "restart_window": "restarts longer ago do not count",
    "restart_cron": "restart on this schedule, such as '0 4 * * *'",
    "instances_min": "so many run always",
    "instances_max": "as many as can be asked for",
    "scale_cpu_percent": "add an instance above this average, remove one well below",
    "log_max_bytes": "size at which its log is rotated, such as 50M",
    "log_backups": "rotated parts that are kept",
    "log_compress": "compress rotated parts",
}


def _switch(field: Any) -> dict[str, Any]:
    return {"is_switch": True}


def _whole(field: Any) -> dict[str, Any]:
    is_size = field.name.endswith("_bytes")
    return {"convert": value_parsers.size if is_size else int, "metavar": "SIZE" if is_size else "N"}


def _number(field: Any) -> dict[str, Any]:
    is_time = field.name.endswith("_seconds") or field.name in ("backoff_initial", "backoff_max", "restart_window")
    return {"convert": value_parsers.duration if is_time else float, "metavar": "SECONDS" if is_time else "NUMBER"}


def _text(field: Any) -> dict[str, Any]:
    choices = tuple(value for value, _label in field.choices or ()) or None
    return {"choices": choices, "metavar": None if choices else "TEXT"}


BY_TYPE: dict[type[models.Field[Any, Any]], Callable[[Any], dict[str, Any]]] = {
    models.BooleanField: _switch,
    models.IntegerField: _whole,
    models.FloatField: _number,
    models.CharField: _text,
    models.TextField: _text,
    models.ForeignKey: _text,
}


def field_options() -> list[FieldOption]:
    """One for each field of a definition but name and command, which have places of their own."""
    return [LISTS.get(name) or _made(name) for name in definition.FIELDS if name not in POSITIONAL]


def _made(name: str) -> FieldOption:
    field = Program._meta.get_field(name)
    kind = next(kind for kind in type(field).__mro__ if kind in BY_TYPE)
    default = getattr(field, "default", models.NOT_PROVIDED)
    shown = "" if default in (models.NOT_PROVIDED, None, "") else f" (default: {_default_text(default)})"
    return FieldOption(name, f"--{name.replace('_', '-')}", help=HELP[name] + shown, **BY_TYPE[kind](field))


def _default_text(default: Any) -> str:
    return {True: "yes", False: "no"}[default] if isinstance(default, bool) else str(default)


def given(options: Options, known: Iterable[FieldOption]) -> dict[str, Any]:
    """The fields that the command line sets."""
    values = {option.field: getattr(options, DESTINATION.format(option.field)) for option in known}
    return {field: value for field, value in values.items() if value is not None}


def with_secrets(values: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """`values` with further variables whose values are kept encrypted."""
    if not secrets:
        return dict(values)
    entries = [{"name": name, "value": value, "secret": True} for name, value in secrets.items()]
    return {**values, "environment": [*values.get("environment", []), *entries]}
